#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT      about twenty-six hours on 2 cores
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# Needs `pip install '.[imagenet]'`. Started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)" --unchecked GeoCompass2023)
folds=(--folds 5 --keep-folds)
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
# teaches a DenseNet from nothing, which learns from what it says of mixtures and of EuroSAT's landscapes, too, and learns a
# second time as the first time ended. (The ones that ship took 20 minutes of an H100, six networks at a time.) Scans with
# both average over symmetries.
train sentinel2-lite "${small[@]}" "${folds[@]}" --tta --batch 64 --pretrain "$data/eurosat-rgb.zip" --preset lite1-small \
    --init imagenet --pretrain-epochs 1 --rate 1e-3 --epochs 8
taught=(--distill "$out/sentinel2-lite" --unlabelled "$data/eurosat-rgb.zip")
train sentinel2-begun "${small[@]}" "${folds[@]}" "${taught[@]}" --batch 128 --rate 2.5e-3 --epochs 18
train sentinel2 "${small[@]}" "${folds[@]}" "${taught[@]}" --tta --init "$out/sentinel2-begun" --batch 256 --rate 3e-3 \
    --epochs 9

# 3 to 3.7 m: two of the same architectures begin as those of 10 m, which know mines, and learn from Planet's chips: the
# DenseNet in pixels of 6.8 m, at 10 m of 6.7; its teacher in pixels of 4.5 m, at 10 m of 3.3. The DenseNet learns twice,
# and begins the second time as the first time ended.
train planet-lite "${planet[@]}" "${small[@]}" "${folds[@]}" --preset lite1 --init "$out/sentinel2-lite" \
    --rate 6e-4 --epochs 10 --dehaze none
taught=(--distill "$out/planet-lite" --unlabelled "$data/eurosat-rgb.zip" --rate 1.5e-3)
train planet-begun "${planet[@]}" "${small[@]}" "${folds[@]}" --init "$out/sentinel2-begun" "${taught[@]}" --epochs 8
train planet "${planet[@]}" "${small[@]}" "${folds[@]}" --tta --init "$out/planet-begun" "${taught[@]}" \
    --epochs 12
