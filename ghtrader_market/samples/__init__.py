"""Names the real recordings that travel with the package (README.md here says where from and under which licence)."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
IF2101 = _HERE / "IF2101_20210104.csv.gz"
"""CFFEX.IF2101 on 2021-01-04: 27,955 ticks, one level, wondertrader's columns."""
CU1909 = _HERE / "SHFE.cu1909_20190916_sample.csv"
"""SHFE.cu1909 on 2019-09-16: 200 ticks, five levels, TqSdk's columns."""
