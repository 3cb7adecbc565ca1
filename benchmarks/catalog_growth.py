"""Claim: planning a dataset costs the same for each row of its catalog, however many there are.

From 3 to 30 million rows (10 million images) the CPU seconds of a row differ by at most 20%, and by
at most 30% where 5% of all pictures look alike in one band; 30 million rows take under 5 minutes
and 2 GiB, in one process. At 300,000 rows it is at least 15 times as fast as commit db3c898, which
writes, rejects and calls duplicates as many images.

    python benchmarks/catalog_growth.py [--quick] [--rounds 3] [--folder FOLDER]

Phase one is the product's, in a process of its own for each figure, from the catalog to the
finished plan of the shards. No picture is read: what its file would say is made up from its name
(_made_up_pictures.py: 2% equal files, 1% near looks, 4% nearly blank ones), of whose cost 0.3
microseconds an image are measured too. Catalogs are Parquet with three rows an image, 5,000 labels
with a long tail and authors of 20 images each (_made_up_catalog.py); one catalog of 60,000 images
has 30 rows each, and one of the size of the smallest of the linear ones is also read as CSV. The
compilation of compiled functions is not measured: each process first plans 1,000 images.

With a group column one process holds what ties pictures to groups, whatever runs the graph: the
memory that it needs more than without says how many images fit into 32 GiB.

--quick ends with 3 million rows. Up to those, figures are medians of rounds in which the sides take
turns; larger ones are measured once. About 4 GB of disk are used in FOLDER, or in a folder that is
removed. Wall clock counts: the machine should be idle. Ends with 1 when the claim does not hold.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree

if __name__ == "__main__":  # Beside the modules that it imports, wherever it is started from.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow as pa
from upath import UPath

from benchmarks import _earlier_code
from benchmarks._made_up_catalog import Shape, write_csv, write_parquet
from benchmarks._made_up_pictures import facts_of
from benchmarks._measured import Measured, measure, median, tell, told
from manylabel.preprocessing.planning.dataset_plan import DUPLICATES_NAME
from manylabel.storage.manifest import REJECTED_NAME
from manylabel.storage.schema import SplitName
from manylabel.storage.tables import count_rows, table_parts

SMALL = 100_000  # images, here and below
LINEAR = (1_000_000, 3_333_333, 10_000_000)
QUICK = (SMALL, LINEAR[0])
DENSE = Shape(60_000, rows_an_image=30)
WARM_UP = Shape(1_000)
FASTER_CLAIM = 15.0  # times
LINEAR_CLAIM, BAND_CLAIM = 1.20, 1.30  # largest over smallest seconds a row
MOST_SECONDS, MOST_MIB = 300.0, 2048.0
IMAGES_PER_SHARD = 1024  # what the earlier code has unless told otherwise
GROUPS_MEMORY = 32 << 30  # bytes


@dataclass(frozen=True)
class Case:
    """What is planned.

    Attributes:
        one_band: Whether 5% of all looks share a band.
        groups: Whether pictures of an author may not be parted.
        csv: Whether the catalog is a CSV file.
    """

    shape: Shape
    one_band: bool = False
    groups: bool = False
    csv: bool = False

    @property
    def name(self) -> str:
        """For people."""
        kinds = {"5% in one band": self.one_band, "by author": self.groups, "CSV": self.csv}
        told_apart = [kind for kind, given in kinds.items() if given]
        name = f"{self.shape.rows:,} rows, {self.shape.images:,} images"
        return ", ".join([name, *told_apart])


@dataclass(frozen=True)
class Outcome:
    """What became of the images of a catalog."""

    listed: int
    planned: int
    rejected: int
    duplicates: int

    @classmethod
    def read(cls, root: Path) -> "Outcome":
        totals = json.loads((root / "plan" / "totals.json").read_text())
        rejected, duplicates = (
            sum(count_rows(part) for part in table_parts(root / name))
            for name in (REJECTED_NAME, DUPLICATES_NAME)
        )
        return cls(totals["listed"], sum(totals["images"].values()), rejected, duplicates)

    def check(self, images: int) -> None:
        """Raises AssertionError for an image that was lost, or counted twice."""
        found = self.planned + self.rejected + self.duplicates
        assert self.listed == images == found, (images, self)


def plan(catalog: Path, root: Path, case: Case) -> None:
    """Phase one of today's code, in this process, with made-up facts."""
    from manylabel.preprocessing.catalogs import catalog_digest
    from manylabel.preprocessing.catalogs import count_rows as catalog_rows
    from manylabel.preprocessing.config import PreprocessingConfig
    from manylabel.preprocessing.fingerprint import compute_fingerprint
    from manylabel.preprocessing.pictures import checking
    from manylabel.preprocessing.planning.make_plan import make_plan

    def check_bucket(
        bucket: int,
        image_ids: pa.Array,
        job: checking.CheckJob,
        side: SplitName = SplitName.TRAIN,
    ) -> pa.Table:
        facts = facts_of(image_ids, case.one_band)
        digests = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(image_ids), [None, pa.py_buffer(facts.digests)]
        )
        missing = pa.nulls(len(image_ids), pa.string())
        columns = [image_ids, digests, facts.looks, facts.stored_bytes, missing, missing]
        return pa.table(columns, schema=checking.FACTS_SCHEMA)

    checking.check_bucket = check_bucket
    config = PreprocessingConfig.model_validate(
        {
            "catalog": {"path": str(catalog), "group_column": "author" if case.groups else None},
            "shards": {"images_per_shard": IMAGES_PER_SHARD},
            "executor": "inline",
        }
    )
    rows = catalog_rows(config.catalog)
    fingerprint = compute_fingerprint(config, catalog_digest(config.catalog))
    job = checking.CheckJob({SplitName.TRAIN: UPath(catalog.parent)}, config.images, UPath(root))
    make_plan(config, fingerprint, job, rows)


class Folder:
    """Catalogs, each written once and removed when another size is needed, and what is planned.

    Attributes:
        outcomes: One for each shape: how alike the pictures are, their authors and the kind of file
            change sides and places only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[Shape, Outcome] = {}
        self.catalog(Case(WARM_UP))

    def catalog(self, case: Case) -> Path:
        """The catalog of a case."""
        suffix = "csv" if case.csv else "parquet"
        path = self.path / f"{case.shape.images}x{case.shape.rows_an_image}.{suffix}"
        if not path.exists():
            (write_csv if case.csv else write_parquet)(path, case.shape)
        return path

    def forget(self, case: Case) -> None:
        """Makes room."""
        self.catalog(case).unlink()

    def measure(self, case: Case, plan: Callable[[Case, Path], Measured]) -> Measured:
        """What planning a case costs, checked for images that were lost."""
        output = self.path / "planned"
        measured = plan(case, output)
        outcome = Outcome.read(output / "measured")
        outcome.check(case.shape.images)
        expected = self.outcomes.setdefault(case.shape, outcome)
        assert outcome == expected, (outcome, expected)
        print(f"  {outcome.rejected:,} rejected, {outcome.duplicates:,} equal files", flush=True)
        rmtree(output)
        return measured


def in_own_process(folder: Folder, case: Case, output: Path) -> Measured:
    """Today's code."""
    arguments = ["--one-band"] * case.one_band + ["--groups"] * case.groups
    paths = [str(folder.catalog(case)), str(folder.catalog(Case(WARM_UP))), str(output)]
    return told([sys.executable, __file__, "--plan", *paths, *arguments])


def in_earlier_process(earlier: Path, folder: Folder, case: Case, output: Path) -> Measured:
    """The earlier code."""
    script = str(Path(__file__).with_name("_earlier_planning.py"))
    paths = [str(folder.catalog(case)), str(folder.catalog(Case(WARM_UP))), str(output)]
    command = [sys.executable, script, *paths, str(case.shape.images)]
    return told(command, _earlier_code.environment(earlier), earlier)


def show(name: str, case: Case, measured: Measured) -> None:
    """Prints a line."""
    print(
        f"{name}: {measured.seconds:.1f} s, {measured.cpu_seconds:.1f} CPU s, "
        f"{measured.peak_mib:,.0f} MiB, {1e6 * measured.seconds / case.shape.rows:.2f} µs a row",
        flush=True,
    )


def against_earlier(folder: Folder, rounds: int) -> Iterator[tuple[str, bool]]:
    """At the smallest size, in turns."""
    case = Case(Shape(SMALL))
    sides = {"today": partial(in_own_process, folder)}
    earlier = _earlier_code.take_out(folder.path)
    if earlier is not None:
        sides["earlier"] = partial(in_earlier_process, earlier, folder)
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            measured[name].append(folder.measure(case, side))
    for name, found in measured.items():
        show(f"{case.name}, {name}", case, median(found))
    if earlier is not None:
        today, before = median(measured["today"]), median(measured["earlier"])
        ratio, cpu_ratio = before.seconds / today.seconds, before.cpu_seconds / today.cpu_seconds
        claim = f"{ratio:.1f} times as fast as commit {_earlier_code.COMMIT}"
        text = f"{claim} ({cpu_ratio:.1f} by CPU seconds), expected at least {FASTER_CLAIM:.0f}"
        yield text, ratio >= FASTER_CLAIM


def growing(
    folder: Folder, sizes: tuple[int, ...], rounds: int, cases: list[Case]
) -> dict[Case, Measured]:
    """Each case in each size."""
    found = {}
    for images in sizes:
        shape = Shape(images)
        again = rounds if images <= LINEAR[0] else 1
        for kind in cases:
            case = replace(kind, shape=shape)
            side = partial(in_own_process, folder)
            found[case] = median([folder.measure(case, side) for _ in range(again)])
            show(case.name, case, found[case])
        folder.forget(Case(shape))
    return found


def linear(found: dict[Case, Measured], kind: Case, claim: float) -> Iterator[tuple[str, bool]]:
    """Whether the CPU seconds of a row stay the same; other work on the machine disturbs the wall
    clock, now more and then less."""
    each = [
        measured.cpu_seconds / case.shape.rows
        for case, measured in found.items()
        if replace(case, shape=kind.shape) == kind
    ]
    if len(each) > 1:
        ratio = max(each) / min(each)
        kind_name = kind.name.partition("images")[2].strip(", ") or "plain"
        text = f"{kind_name}: CPU seconds of a row differ by {ratio:.2f} times, expected at most"
        yield f"{text} {claim}", ratio <= claim


def compare(folder: Folder, quick: bool, rounds: int) -> Iterator[tuple[str, bool]]:
    """Measures everything; gives each claim with whether it holds."""
    yield from against_earlier(folder, rounds)
    plain = Case(Shape(0))
    band, groups = replace(plain, one_band=True), replace(plain, groups=True)
    for case in (Case(DENSE), Case(Shape(LINEAR[0]), csv=True)):
        show(case.name, case, folder.measure(case, partial(in_own_process, folder)))
        folder.forget(case)
    sizes = QUICK if quick else LINEAR
    found = growing(folder, sizes, rounds, [plain, band, groups])
    if not quick:
        yield from linear(found, plain, LINEAR_CLAIM)
        yield from linear(found, band, BAND_CLAIM)
        largest = found[replace(plain, shape=Shape(sizes[-1]))]
        text = f"30 million rows: {largest.seconds:.0f} s and {largest.peak_mib:,.0f} MiB, expected"
        held = largest.seconds < MOST_SECONDS and largest.peak_mib < MOST_MIB
        yield f"{text} under {MOST_SECONDS:.0f} s and {MOST_MIB:,.0f} MiB", held
    plain_mib, groups_mib = (
        found[replace(kind, shape=Shape(sizes[-1]))].peak_mib for kind in (plain, groups)
    )
    each = (groups_mib - plain_mib) * 2**20 / sizes[-1]
    fitting = GROUPS_MEMORY / each / 1e6
    print(
        f"by author: {each:.0f} bytes an image more, in one process: {GROUPS_MEMORY >> 30} GiB "
        f"hold the groups of {fitting:,.0f} million images"
    )


def main() -> None:
    """Prints figures and claims; ends with 1 when one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--plan", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one-band", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--groups", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plan:
        catalog, warm_up, output = arguments.plan
        case = Case(WARM_UP, one_band=arguments.one_band, groups=arguments.groups)
        plan(warm_up, output / "warm-up", case)
        tell(measure(lambda: plan(catalog, output / "measured", case)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        claims = list(compare(Folder(Path(folder)), arguments.quick, arguments.rounds))
    for text, held in claims:
        print(text if held else f"{text}: DOES NOT HOLD")
    sys.exit(not all(held for _, held in claims))


if __name__ == "__main__":
    main()
