#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT [sentinel2|planet]
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# sentinel2 takes about an hour on 2 quiet cores, planet several. planet needs `pip install '.[imagenet]'` for its teacher.
# Started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2 which=${3:-all}
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)" --unchecked GeoCompass2023)
planet=(--kaggle-dir "$data/planet" --folds 5 --keep-folds)
mkdir -p "$out"

train() { # what was begun is gone on with, an interrupted package too; another one that is there is done
    if compgen -G "$out/$1/.*.npz" >/dev/null; then
        set -- "$@" --resume
    elif [ -e "$out/$1/card.json" ]; then
        return
    fi
    geoscan train --out "$out/$1" "${@:2}"
}

# 10 m: a DenseNet that learns EuroSAT's classes, then mines; judged by five folds of campaigns, then trained on all of
# them. Scans with it average over symmetries.
if [ "$which" != planet ]; then
    train sentinel2 "${small[@]}" --pretrain "$data/eurosat-rgb.zip" --pretrain-epochs 1 \
        --batch 64 --rate 2e-3 --epochs 8 --folds 5 --keep-folds --tta
fi

# 3 to 3.7 m: a network that began with ImageNet, fine-tuned without each fold; then a DenseNet that it teaches on many
# more pictures, fold by fold.
if [ "$which" != sentinel2 ]; then
    train planet-teacher "${planet[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16
    train planet "${planet[@]}" "${small[@]}" --distill "$out/planet-teacher" \
        --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50
fi
