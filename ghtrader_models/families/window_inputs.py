"""Chooses the columns that a network reads: the book's own, factors, or both.

What belongs here: which columns of a data set are the book's, and a network of those that are chosen. Whatever is
chosen, a bundle takes whole rows of its data set: the choice is inside the network. torch is imported when a network
is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghtrader_base.errors import UsageError
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.factors.library.book_factors import book_column_names
from ghtrader_models.families.window_config import Inputs, WindowConfig
from ghtrader_models.families.window_family import Build

if TYPE_CHECKING:
    from torch import nn


def chosen_columns(names: tuple[str, ...], inputs: str) -> tuple[int, ...]:
    """Places of the columns that are chosen, in the order that a network reads them.

    Parameters
    ----------
    names : tuple of str
        Columns of the data set.
    inputs : str
        `Inputs`. `both` takes every column there is, whether or not the book's are among them; `book` has the order
        of `book_column_names`.

    Raises
    ------
    UsageError
        `book` of a data set without a column of the book, or `factors` of one without any other.
    """
    if inputs == Inputs.BOOK:
        found = tuple(names.index(name) for name in book_column_names() if name in names)
        if not found:
            raise UsageError(
                "inputs is 'book', and this data set has no column of the book",
                "build with --factors book (or core+book, lean+book), or set inputs to 'factors' or 'both'",
            )
        return found
    if inputs == Inputs.FACTORS:
        book = set(book_column_names())
        found = tuple(place for place, name in enumerate(names) if name not in book)
        if not found:
            raise UsageError(
                "inputs is 'factors', and this data set has the book alone",
                "build with --factors lean+book or core+book, or set inputs to 'book' or 'both'",
            )
        return found
    return tuple(range(len(names)))


def reads_the_book(names: tuple[str, ...], inputs: str) -> bool:
    """Whether what is chosen is columns of the book in their order, and nothing else."""
    chosen = [names[place] for place in chosen_columns(names, inputs)]
    return bool(chosen) and chosen == [name for name in book_column_names() if name in chosen]


def on_inputs(build: Build, samples: Samples, config: WindowConfig) -> Build:
    """Builds a network of whole rows from one of the chosen columns.

    Parameters
    ----------
    build : callable
        Length of a window and number of columns -> a network of these columns.
    samples : Samples
        What is trained on; its `names` are needed unless `config.inputs` is `both`.
    config : WindowConfig

    Raises
    ------
    UsageError
        As `chosen_columns`.
    """
    if config.inputs == Inputs.BOTH:
        return build
    chosen = chosen_columns(samples.names, config.inputs)
    if chosen == tuple(range(samples.X.shape[1])):
        return build

    def of_whole_rows(length: int, factors: int) -> nn.Module:
        from ghtrader_models.families.networks.selected_columns import SelectedColumns

        return SelectedColumns(build(length, len(chosen)), chosen)

    return of_whole_rows
