"""Points and weights of the path integral."""

from scipy.special import roots_jacobi


def legendre_gauss_radau(nodes: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return Legendre-Gauss-Radau points and weights on [0, 1], in ascending order; the last point is 1.

    Exact for polynomials of degree `2 * nodes - 2`. The end of the path is the unchanged attacked prompt, a row that is
    run anyway, so the last node costs nothing. At the same cost the rule is more accurate than Gauss-Legendre, whose
    nodes are all inside the interval.
    On [-1, 1] the inner points are the roots of the Jacobi polynomial P^(1,0)_(n-1), and the last weight is 2 / n^2
    (https://mathworld.wolfram.com/RadauQuadrature.html, mirrored).
    """
    if nodes == 1:
        return (1.0,), (1.0,)
    inner, weights = roots_jacobi(nodes - 1, 1.0, 0.0)
    points = [float(point + 1) / 2 for point in inner]
    scaled = [float(weight / (1 - point)) / 2 for point, weight in zip(inner, weights, strict=True)]
    return (*points, 1.0), (*scaled, 1 / nodes**2)
