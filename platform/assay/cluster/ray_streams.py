"""Ray Data as the stages use it: silent, and failing with what the worker raised."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import ray.data

from assay.errors import AssayError, StageError


@contextmanager
def quiet_ray_data() -> Iterator[None]:
    """Ray Data without bars and banners: progress is ours to show.

    Left by an error, it says nothing more: threads of a stream that nobody reads on outlive Ray by a moment.
    """
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # a place has no other way in yet
    context = ray.data.DataContext.get_current()  # its copy() warns of fields that it deprecates itself
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield
    except BaseException:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        raise
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before


@contextmanager
def workers_errors(failed: str) -> Iterator[None]:
    """Inside, what a worker raised comes out of Ray's wrapping.

    Args:
        failed: begins the message where it was no error of ours, such as "scoring: a worker failed".

    Raises:
        AssayError: as in the worker.
        StageError: anything else.
    """
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        raise _cause(error, failed) from error


def tables_of(dataset: ray.data.Dataset) -> Iterator[pa.Table]:
    """The stream's tables as they come."""
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _cause(error: BaseException, failed: str) -> AssayError:
    seen: BaseException | None = error
    last = error
    while seen is not None:
        if isinstance(seen, AssayError):
            return seen
        last = seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return StageError(f"{failed} ({type(last).__name__}: {' '.join(str(last).split())[-300:]})")
