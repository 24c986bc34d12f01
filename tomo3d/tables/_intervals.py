"""How far off a chain of analysis is, measured on phantoms."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

BIAS: Schema = (
    Column("quantity", "text", "", "what the chain measures"),
    Column("known", "text", "", "name of the same quantity in the truth of the phantoms"),
    Column("unit", "text", "", "unit of truth, measured and offset"),
    Column("truth", "number", "see unit", "mean of the true values of the phantoms"),
    Column("truth_low", "number", "see unit", "smallest true value: the correction is known from here"),
    Column("truth_high", "number", "see unit", "largest true value: the correction is known up to here"),
    Column("measured", "number", "see unit", "mean of the measured values"),
    Column(
        "ratio", "number", "", "geometric mean of measured over truth; nan where one of them is not positive"
    ),
    Column("ratio_low", "number", "", "lower end of the 95 % interval of the ratio (Student's t)"),
    Column("ratio_high", "number", "", "upper end of the 95 % interval of the ratio"),
    Column(
        "scatter", "number", "", "standard deviation of the logarithm of the ratio from phantom to phantom"
    ),
    Column("offset", "number", "see unit", "mean of measured minus truth"),
    Column("offset_low", "number", "see unit", "lower end of the 95 % interval of the offset (Student's t)"),
    Column("offset_high", "number", "see unit", "upper end of the 95 % interval of the offset"),
    Column(
        "offset_scatter", "number", "see unit", "standard deviation of the offset from phantom to phantom"
    ),
    Column("n", "integer", "", "phantoms on which the chain gave a finite value"),
    Column("n_failed", "integer", "", "phantoms on which it gave none"),
)
