#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT      about twenty hours on 2 cores
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# Needs `pip install '.[imagenet]'`. Started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)" --unchecked GeoCompass2023)
folds=(--folds 5 --tta --keep-folds)
planet=(--kaggle-dir "$data/planet")
mkdir -p "$out"

train() { # what was begun is gone on with, an interrupted package too; another one that is there is done
    if compgen -G "$out/$1/.*.npz" >/dev/null; then
        set -- "$@" --resume
    elif [ -e "$out/$1/card.json" ]; then
        return
    fi
    geoscan train --out "$out/$1" "${@:2}"
}

# 10 m: a network that begins with ImageNet and EuroSAT and sees the chips three times as large, trained without each fold,
# teaches a DenseNet from nothing, which learns from what it says of mixtures and of EuroSAT's landscapes, too. (The ones that
# ship took 15 minutes of an H100, six networks at a time.) Scans with both average over symmetries.
train sentinel2-lite "${small[@]}" "${folds[@]}" --batch 64 --pretrain "$data/eurosat-rgb.zip" --preset lite1-small \
    --init imagenet --pretrain-epochs 1 --rate 1e-3 --epochs 8
train sentinel2 "${small[@]}" "${folds[@]}" --batch 128 --distill "$out/sentinel2-lite" \
    --unlabelled "$data/eurosat-rgb.zip" --rate 2.5e-3 --epochs 18

# 3 to 3.7 m: two larger networks, fine-tuned on Planet's chips as they are, teach a DenseNet on many more pictures; it
# and the smaller one then teach it to do without the haze.
train planet-lite "${planet[@]}" "${small[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16 --dehaze none
train planet-lite-large "${planet[@]}" "${small[@]}" --preset lite-large --init imagenet --rate 6e-4 --epochs 16 \
    --dehaze none
train planet-hazy "${planet[@]}" "${small[@]}" --distill "$out/planet-lite" --distill "$out/planet-lite-large" \
    --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50 --patience 50 --dehaze none
train planet "${planet[@]}" "${small[@]}" --init "$out/planet-hazy" --distill "$out/planet-hazy" \
    --distill "$out/planet-lite" --rate 5e-4 --unlabelled "$data/eurosat-rgb.zip" --epochs 10
