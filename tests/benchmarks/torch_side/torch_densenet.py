"""The DenseNet-BC that geoscan builds in Keras, in PyTorch; for scripts that run without geoscan."""

import torch
from torch import nn


class DenseLayer(nn.Module):
    def __init__(self, channels, growth):
        super().__init__()
        self.narrow = nn.Sequential(norm_relu(channels), nn.Conv2d(channels, 4 * growth, 1, bias=False))
        self.wide = nn.Sequential(norm_relu(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False))

    def forward(self, x):
        return torch.cat([x, self.wide(self.narrow(x))], dim=1)


def norm_relu(channels):
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def densenet(blocks, growth, stem, compression, labels, **_):
    """(n, 3, rows, cols) -> (n, labels), 0..1; random weights."""
    layers = [nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False), norm_relu(stem), nn.MaxPool2d(3, 2, 1)]
    channels = stem
    for n, depth in enumerate(blocks, 1):
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        if n < len(blocks):
            kept = int(channels * compression)
            layers += [norm_relu(channels), nn.Conv2d(channels, kept, 1, bias=False), nn.AvgPool2d(2)]
            channels = kept
    layers += [norm_relu(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, labels), nn.Sigmoid()]
    return nn.Sequential(*layers).eval()
