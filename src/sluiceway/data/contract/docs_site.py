"""Great Expectations' pages (Data Docs), written by Great Expectations and then made to stand alone."""

import shutil
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from sluiceway.data.contract import datadocs

ASSET = "examples"
SOURCE = "table"


def project(gx: ModuleType, name: str, site: Path | None = None) -> Any:
    """Describe a project that lives in memory, reports to nobody and shows no progress.

    Args:
        gx: Great Expectations.
        name: of the pages.
        site: folder for the pages; None: there are none.
    """
    types = gx.data_context.types.base
    pages = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "site_section_builders": {"profiling": "none"},
    }
    return types.DataContextConfig(
        store_backend_defaults=types.InMemoryStoreBackendDefaults(),
        data_docs_sites={name: pages} if site else {},
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )


def write_pages(gx: ModuleType, suite: Any, results: list[Any], docs: Path) -> None:
    """Write the pages of a suite and its results into a folder, which is replaced as a whole."""
    met = sum(each.success for each in results)
    outcome = gx.core.ExpectationSuiteValidationResult(
        success=met == len(results),
        results=results,
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100.0 * met / len(results),
        },
        meta={
            "great_expectations_version": gx.__version__,
            "active_batch_definition": {
                "datasource_name": SOURCE,
                "data_connector_name": "fluent",
                "data_asset_name": ASSET,
                "batch_identifiers": {"dataframe": "<DATAFRAME>"},
            },
        },
        batch_id=f"{SOURCE}-{ASSET}",
    )
    with TemporaryDirectory(prefix="sluiceway-docs-") as private:
        # A folder inside it: who may read the page that links to these may read these, and a copy takes rights along.
        site = Path(private) / "pages"
        site.mkdir()
        context = gx.get_context(mode="ephemeral", project_config=project(gx, suite.name, site))
        context.suites.add(suite)
        _store(gx, context, outcome, suite.name)
        context.build_data_docs()
        datadocs.stand_alone(site)
        shutil.rmtree(docs, ignore_errors=True)
        shutil.copytree(site, docs)


def _store(gx: ModuleType, context: Any, outcome: Any, name: str) -> None:
    """Put an outcome where the pages are made from, without what differs from one run to the next."""
    run = gx.RunIdentifier(run_name="validate", run_time=datetime.fromisoformat(datadocs.RUN_TIME))
    outcome.meta.update(run_id=run, validation_time=run.run_time)
    outcome.meta.update(batch_markers={}, batch_spec={"data_asset_name": ASSET})
    identifiers = gx.data_context.types.resource_identifiers
    suite = identifiers.ExpectationSuiteIdentifier(name=name)
    key = identifiers.ValidationResultIdentifier(batch_identifier=ASSET, expectation_suite_identifier=suite, run_id=run)
    context.validation_results_store.store_validation_results(outcome, key, suite)
