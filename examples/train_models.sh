#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT            what ships now: about four and a half hours on 2 cores
#     examples/train_models.sh DATA OUT dehazed    DenseNets that remove haze, taught fold by fold: not run as a whole yet
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# Needs `pip install '.[imagenet]'`. Started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2 road=${3:-shipped}
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)" --unchecked GeoCompass2023)
eurosat=(--pretrain "$data/eurosat-rgb.zip" --batch 64 --folds 5 --tta)
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

if [ "$road" = dehazed ]; then
    # 10 m: a network that begins with ImageNet and EuroSAT, trained without each fold, teaches a DenseNet.
    train sentinel2-teacher "${small[@]}" "${eurosat[@]}" --preset lite-small --init imagenet --pretrain-epochs 3 \
        --rate 1e-3 --epochs 10 --keep-folds
    train sentinel2 "${small[@]}" "${eurosat[@]}" --pretrain-epochs 1 --distill "$out/sentinel2-teacher" \
        --rate 2e-3 --epochs 12

    # 3 to 3.7 m: likewise; the DenseNet learns from many more pictures than have labels.
    train planet-teacher "${planet[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16 --folds 5 --keep-folds
    train planet "${planet[@]}" "${small[@]}" --folds 5 --distill "$out/planet-teacher" \
        --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50
    exit
fi

# 10 m: an ImageNet network that learns EuroSAT's classes, then mines; judged by five folds of campaigns, then trained on
# all of them. Scans with it average over symmetries.
train sentinel2 "${small[@]}" "${eurosat[@]}" --preset lite-small --init imagenet --pretrain-epochs 3 \
    --rate 1e-3 --epochs 10 --dehaze none

# 3 to 3.7 m: two larger ones, fine-tuned on Planet's chips; then a DenseNet that both teach on many more pictures.
train planet-lite "${planet[@]}" "${small[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16 --dehaze none
train planet-lite-large "${planet[@]}" "${small[@]}" --preset lite-large --init imagenet --rate 6e-4 --epochs 16 \
    --dehaze none
train planet "${planet[@]}" "${small[@]}" --distill "$out/planet-lite" --distill "$out/planet-lite-large" \
    --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50 --patience 50 --dehaze none
