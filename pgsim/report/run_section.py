"""The sections that a cluster run gives: clusters with examples, outliers, and doubtful labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgsim.report.charts import bar, colour, scatter
from pgsim.report.markup import Content, tag, value
from pgsim.report.parts import chip, gallery, missing, section
from pgsim.report.words import command, counted, moment, share

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from pgsim.report.facts import Report
    from pgsim.report.run_facts import ClusterFacts, Judged, RunFacts
    from pgsim.report.shown import Sample, Shows

#: Entries of the map's legend.
_LEGEND = 16


def run_sections(report: Report, shows: Shows) -> list[Element]:
    """Tell what a run says of the rows; without one, which command makes it."""
    run = report.run
    if run is None or not run.rows:
        return _lacking(report)
    return [
        _clusters(run, shows),
        section("outliers", "Outliers", *_outliers(run, shows)),
        section("labels", "Doubtful labels", *_labels(report, run, shows)),
    ]


def build_command(report: Report, *more: str) -> str:
    """Print the command that would make a run of these rows."""
    filled = sorted(report.embeddings, key=lambda space: -space.rows)
    embedding = filled[0].kind.name if filled and filled[0].rows else "E"
    rows = () if report.slice is None else ("--slice", report.slice)
    return command("clusters", "build", "--embedding", embedding, *rows, *more)


def _lacking(report: Report) -> list[Element]:
    run = report.run
    what = "No cluster run has any of these rows" if run is None else f'Cluster run "{run.name}" has none of these rows'
    making = build_command(report)
    judging = build_command(report, "--label", "FIELD")
    return [
        section("clusters", "Clusters", missing(f"{what}; one is made by", making)),
        section("outliers", "Outliers", missing("Rows are judged by a cluster run; one is made by", making)),
        section("labels", "Doubtful labels", missing("Labels are judged by a cluster run; one is made by", judging)),
    ]


def _clusters(run: RunFacts, shows: Shows) -> Element:
    facts: list[Content] = [
        "Run ", value(run.name), f" ({run.method}) of ",
        tag("bdi", run.embedding) if run.embedding is not None else "an embedding type deleted since",
        f", made {moment(run.created_at)}: {counted(run.cluster_count, 'cluster')} of {counted(run.rows, 'row')}",
    ]  # fmt: skip
    if run.rows != run.run_rows:
        facts.append(f", of the {run.run_rows:,} that it was made of")
    if run.unclustered:
        facts.append(f"; {counted(run.unclustered, 'row')} in no cluster")
    if run.purity is not None:
        facts.append(f"; purity {run.purity:.3f}")
    picture = scatter(run.places, f"Map of {counted(len(run.places), 'row')}")
    caption: Content = None
    if len(run.places) < run.rows:
        caption = tag("p", f"{len(run.places):,} of the rows, drawn by lot.", class_="soft")
    legend = [
        tag("li", tag("a", _swatch(cluster.number), f"{cluster.number}", _label(cluster),
            href=f"#cluster-{cluster.number}"), tag("span", f"{cluster.rows:,}"))
        for cluster in run.clusters[:_LEGEND]
    ]  # fmt: skip
    more = len(run.clusters) - len(legend)
    if more > 0:
        legend.append(tag("li", f"and {more} more below"))
    cards = [_card(cluster, run, shows) for cluster in run.clusters]
    left = sum(cluster.rows for cluster in run.clusters)
    rest = run.rows - run.unclustered - left
    return section(
        "clusters",
        "Clusters",
        tag("p", facts, class_="soft"),
        tag("div", tag("div", picture, caption, class_="card"), tag("ol", legend, class_="legend"), class_="overview"),
        tag("div", cards, class_="clusters"),
        tag("p", f"{counted(run.cluster_count - len(cards), 'smaller cluster')} with {counted(rest, 'row')}: ",
            tag("code", command("clusters", "show", run.name)), class_="soft") if rest else None,
    )  # fmt: skip


def _swatch(number: int) -> Element:
    circle = tag("circle", cx=5, cy=5, r=5)
    return tag("svg", circle, class_=f"swatch {colour(number)}", viewBox="0 0 10 10", aria_hidden="true")


def _label(cluster: ClusterFacts) -> Content:
    return tag("span", " mostly ", value(cluster.labels[0][0]), class_="soft") if cluster.labels else None


def _card(cluster: ClusterFacts, run: RunFacts, shows: Shows) -> Element:
    heading = tag("h3", _swatch(cluster.number), f"Cluster {cluster.number}")
    chips: list[Content] = [chip(counted(cluster.rows, "row"), f", {share(cluster.rows, run.rows)}")]
    if cluster.purity is not None:
        chips.append(
            chip(
                f"purity {cluster.purity:.2f}",
                kind="sure" if cluster.purity >= 0.9 else "odd" if cluster.purity < 0.7 else "",
            )
        )
    labels = [
        tag("li", value(text), bar(rows, cluster.labelled), tag("small", share(rows, cluster.labelled)))
        for text, rows in cluster.labels
    ]
    return tag(
        "article",
        tag("header", heading, tag("p", chips)),
        tag("ol", labels, class_="bars short") if labels else None,
        tag("h4", "Representative"),
        gallery(cluster.representatives, shows, _own(cluster.representatives, cluster)),
        (tag("h4", "At the edge"), gallery(cluster.edges, shows, _own(cluster.edges, cluster)))
        if cluster.edges
        else None,
        class_="card",
        id=f"cluster-{cluster.number}",
    )


def _own(samples: Sequence[Sample], cluster: ClusterFacts) -> list[Content]:
    """Say a row's label where it is not the cluster's."""
    usual = cluster.labels[0][0] if cluster.labels else None
    return [
        value(sample.label, class_="other" if sample.label != usual else None) if sample.label is not None else None
        for sample in samples
    ]


def _outliers(run: RunFacts, shows: Shows) -> list[Content]:
    found = run.outliers
    if not found.rows:
        return [missing("No row of the run has neighbours to be judged by.")]
    said = [tag("span", f"{sample.score:.2f}", class_="score") for sample in found.rows]
    return [
        tag("p", f"{found.above:,} of {counted(found.judged, 'row')} lie more than {found.threshold:g} times as far"
            " from their neighbours as those lie from theirs (local outlier factor). Broken files, strange recordings"
            " and rare cases are found here.", class_="soft"),
        gallery(found.rows, shows, said),
        _more(run, found, "outlier"),
    ]  # fmt: skip


def _labels(report: Report, run: RunFacts, shows: Shows) -> list[Content]:
    found = run.disagreements
    if not found.judged:
        return [
            missing(
                "The run was made without labels; with them, it is made by", build_command(report, "--label", "FIELD")
            )
        ]
    if not found.rows:
        return [tag("p", f"None of {counted(found.judged, 'label')} differs from the labels around it.", class_="soft")]
    usual = {cluster.number: cluster.labels[0][0] for cluster in run.clusters if cluster.labels}
    said = [_doubt(sample, usual) for sample in found.rows]
    field: Content = ("in ", value(run.label_field), " ") if run.label_field else None
    return [
        tag("p", f"{found.above:,} of {counted(found.judged, 'label')} ", field,
            f"differ from at least {share(found.threshold, 1)} of the labels around them.", class_="soft"),
        gallery(found.rows, shows, said),
        _more(run, found, "disagreement"),
    ]  # fmt: skip


def _doubt(sample: Sample, usual: dict[int, str]) -> Content:
    other = usual.get(-1 if sample.cluster is None else sample.cluster)
    own = (
        (value(sample.label, class_="other"), " among ", value(other))
        if other not in (None, sample.label)
        else value(sample.label)
    )
    return tag("span", own), tag("span", share(sample.score or 0, 1), class_="score")


def _more(run: RunFacts, found: Judged, by: str) -> Content:
    if len(found.rows) >= found.judged:
        return None
    return tag("p", "More: ", tag("code", command("clusters", "rows", run.name, "--by", by)), class_="soft")
