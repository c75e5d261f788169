#!/usr/bin/env bash
# Train models like those that geoscan ships, from Kaggle's chips, Amazon Mining Watch's and EuroSAT.
#
#     examples/train_models.sh DATA OUT      about ten hours on 2 cores
#
# DATA holds planet/ (as Kaggle lays it out), sentinel2-mines/chips.zip with index.csv, and eurosat-rgb.zip.
# Needs `pip install '.[imagenet]'`. Started again, it goes on where it was.
set -euo pipefail
data=$1 out=$2
small=(--chips "$data/sentinel2-mines/chips.zip" --index "$data/sentinel2-mines/index.csv"
    --licence "Amazon Mining Watch (MIT, Earth Genome; Copernicus Sentinel data)" --unchecked GeoCompass2023)
folds=(--batch 64 --folds 5 --tta)
eurosat=(--pretrain "$data/eurosat-rgb.zip" "${folds[@]}")
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

# 10 m: a network that begins with ImageNet and EuroSAT, trained without each fold, teaches a DenseNet, which learns from
# what it says of EuroSAT's landscapes, too, and learns for four more epochs, each fold from its own network. (The one that
# ships met degraded chips in these four alone, and remnants of clouds, and 72 px in place of 48, in the last two alone.)
# A deeper one that sees the chips three times as large ships beside it: four minutes on an H100 with KERAS_BACKEND=jax, four
# hours on 2 cores. Scans with all of them average over symmetries.
train sentinel2-teacher "${small[@]}" "${eurosat[@]}" --preset lite-small --init imagenet --pretrain-epochs 2 \
    --rate 1e-3 --epochs 6 --keep-folds
student=(--distill "$out/sentinel2-teacher" --unlabelled "$data/eurosat-rgb.zip" --rate 2e-3 --keep-folds)
train sentinel2-first "${small[@]}" "${eurosat[@]}" --pretrain-epochs 3 "${student[@]}" --epochs 4
train sentinel2-second "${small[@]}" "${folds[@]}" --init "$out/sentinel2-first" "${student[@]}" --epochs 2
train sentinel2 "${small[@]}" "${folds[@]}" --init "$out/sentinel2-second" "${student[@]}" --epochs 2
train sentinel2-lite "${small[@]}" "${eurosat[@]}" --preset lite1-small --init imagenet --pretrain-epochs 1 \
    --rate 1e-3 --epochs 8 --keep-folds

# 3 to 3.7 m: two larger networks, fine-tuned on Planet's chips as they are, teach a DenseNet on many more pictures; it
# and the smaller one then teach it to do without the haze.
train planet-lite "${planet[@]}" "${small[@]}" --preset lite --init imagenet --rate 6e-4 --epochs 16 --dehaze none
train planet-lite-large "${planet[@]}" "${small[@]}" --preset lite-large --init imagenet --rate 6e-4 --epochs 16 \
    --dehaze none
train planet-hazy "${planet[@]}" "${small[@]}" --distill "$out/planet-lite" --distill "$out/planet-lite-large" \
    --rate 1e-3 --unlabelled "$data/eurosat-rgb.zip" --epochs 50 --patience 50 --dehaze none
train planet "${planet[@]}" "${small[@]}" --init "$out/planet-hazy" --distill "$out/planet-hazy" \
    --distill "$out/planet-lite" --rate 5e-4 --unlabelled "$data/eurosat-rgb.zip" --epochs 10
