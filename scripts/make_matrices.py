"""Writes two float32 NPY matrices as a transformer layer has them, without NumPy.

Activations: normal values whose columns have very different spreads, a few of them heavy-tailed, as
real activations do; weights: normal, small. Sizes have a tail in every dimension of every tile.
"""

import array
import random
import sys


def write_npy(path: str, rows: int, columns: int, value) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    data = array.array("f", (value(i, j) for i in range(rows) for j in range(columns)))
    if sys.byteorder == "big":
        data.byteswap()
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
        file.write(data.tobytes())


def main() -> None:
    a_path, b_path = sys.argv[1:3]
    rows, columns, k = 500, 1096, 768
    rng = random.Random(7)
    spread = [rng.lognormvariate(0, 1) * (30 if rng.random() < 0.02 else 1) for _ in range(k)]
    write_npy(a_path, rows, k, lambda i, j: rng.gauss(0, 1) * spread[j])
    write_npy(b_path, columns, k, lambda i, j: rng.gauss(0, 0.02))


if __name__ == "__main__":
    main()
