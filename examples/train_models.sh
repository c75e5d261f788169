#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# Needs `pip install '.[imagenet]'`. Takes about four and a half hours on 2 cores; started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)")
planet=(--kaggle-dir "$data/planet" "${small[@]}")
mkdir -p "$out"

train() { # what was begun is gone on with, an interrupted package too; another one that is there is done
    if compgen -G "$out/$1/.*.npz" >/dev/null; then
        set -- "$@" --resume
    elif [ -e "$out/$1/card.json" ]; then
        return
    fi
    geoscan train --out "$out/$1" "${@:2}"
}

# 10 m: an ImageNet network that learns EuroSAT's classes, then mines; judged by five folds of campaigns, then trained on
# all of them. Scans with it average over symmetries.
train sentinel2 "${small[@]}" --preset lite-small --init imagenet --pretrain "$data/eurosat-rgb.zip" --pretrain-epochs 3 \
    --rate 1e-3 --batch 64 --epochs 10 --folds 5 --tta

# 3 to 3.7 m: two larger ones, fine-tuned on Planet's chips; then a DenseNet that both teach on many more pictures.
train planet-lite "${planet[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16
train planet-lite-large "${planet[@]}" --preset lite-large --init imagenet --rate 6e-4 --epochs 16
train planet "${planet[@]}" --preset compact --distill "$out/planet-lite" --distill "$out/planet-lite-large" \
    --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50 --patience 50
