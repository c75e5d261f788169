"""The same dehazing written twice more: as the equations read, pixel by pixel, and as OpenCV users usually write it."""

import cv2
import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114])


def by_pixel(pixels, valid, params, airlight):
    """Loops over pixels in float64; the truth that the fast version is held to."""
    rows, cols = pixels.shape[1:]
    light = np.asarray(airlight, float)
    pixels = pixels.astype(float)
    valid = np.ones((rows, cols), bool) if valid is None else valid

    def around(row, col, radius):
        window = slice(max(row - radius, 0), row + radius + 1), slice(max(col - radius, 0), col + radius + 1)
        return window, valid[window]

    def each(radius, value):
        plane = np.full((rows, cols), np.nan)
        for row in range(rows):
            for col in range(cols):
                if valid[row, col]:
                    plane[row, col] = value(row, col, *around(row, col, radius))
        return plane

    dark = each(params.patch // 2, lambda r, c, w, real: (pixels[:, *w][:, real] / light[:, None]).min())
    rough = 1 - params.omega * np.minimum(dark, 1)
    gray = np.tensordot(LUMINANCE, pixels, 1)

    def coefficient(row, col, window, real):
        guide, target = gray[window][real], rough[window][real]
        return ((guide * target).mean() - guide.mean() * target.mean()) / (guide.var() + params.eps)

    slope = each(params.radius, coefficient)
    offset = each(params.radius, lambda r, c, w, real: rough[w][real].mean() - slope[r, c] * gray[w][real].mean())
    refined = each(
        params.radius, lambda r, c, w, real: slope[w][real].mean() * gray[r, c] + offset[w][real].mean()
    ).clip(params.t0, 1)
    clear = ((pixels - light[:, None, None]) / refined + light[:, None, None]).clip(0, 1)
    return np.where(valid, clear, pixels).astype(np.float32)


def plain_opencv(image, params, airlight):
    """Interleaved (rows, cols, 3) float32, without nodata, as published snippets do it."""
    light = np.asarray(airlight, np.float32)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (params.patch, params.patch))
    dark = cv2.erode(np.min(image / light, axis=2), kernel)
    rough = 1 - params.omega * np.minimum(dark, 1)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    side = (2 * params.radius + 1,) * 2
    ones = np.ones_like(gray)
    count = cv2.boxFilter(ones, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    def mean(plane):
        return cv2.boxFilter(plane, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT) / count

    mean_gray, mean_rough = mean(gray), mean(rough)
    slope = (mean(gray * rough) - mean_gray * mean_rough) / (mean(gray * gray) - mean_gray**2 + params.eps)
    offset = mean_rough - slope * mean_gray
    refined = np.clip(mean(slope) * gray + mean(offset), params.t0, 1)
    return np.clip((image - light) / refined[:, :, None] + light, 0, 1)
