# Runs queries in GoogleSQL's reference implementation. Reads { query, table, fields, rows } as one line of JSON each; prints the rows' _id.
import json
import sys

from wasmtime import Config, _ffi
from zetasql.core import wasm_client


class Baseline(Config):
    """Compiles in one pass, by Winch: what the implementation's 28 MB save at their start is more than their queries lose."""

    def __init__(self):
        super().__init__()
        # The package names no strategy but Cranelift, which takes a minute and more on a busy machine.
        _ffi.wasmtime_config_strategy_set(self.ptr(), 2)
        self.wasm_threads = True


wasm_client.Config = Baseline

from zetasql.api import CatalogBuilder, PreparedQuery, TableBuilder, create_table_content
from zetasql.types import AnalyzerOptions, LanguageOptions, TypeKind, ZetaSQLBuiltinFunctionOptions

KINDS = {"INTEGER": TypeKind.TYPE_INT64, "FLOAT": TypeKind.TYPE_DOUBLE, "BOOLEAN": TypeKind.TYPE_BOOL}
language = LanguageOptions.maximum_features()


def cell(value, kind):
    if value is None:
        return None
    return int(value) if kind == "INTEGER" else float(value) if kind == "FLOAT" else value


for line in sys.stdin:
    case = json.loads(line)
    table = TableBuilder("rows")
    casts = []
    for field in case["fields"]:
        name, kind = field["name"], field["type"]
        table = table.add_column(name, KINDS.get(kind, TypeKind.TYPE_STRING))
        # Values of other types can only be handed in as text.
        if kind not in KINDS and kind != "STRING":
            casts.append(f"CAST(`{name}` AS {kind}) AS `{name}`")
    catalog = (
        CatalogBuilder("catalog")
        .add_table(table.build())
        .with_builtin_functions(ZetaSQLBuiltinFunctionOptions(language_options=language))
        .build()
    )
    rows = [[cell(row.get(field["name"]), field["type"]) for field in case["fields"]] for row in case["rows"]]
    source = f"(SELECT * REPLACE ({', '.join(casts)}) FROM `rows`)"
    builder = (
        PreparedQuery.builder()
        .set_sql(case["query"].replace(f"FROM `{case['table']}`", f"FROM {source}"))
        .set_analyzer_options(AnalyzerOptions(language_options=language))
        .set_catalog(catalog)
        .set_table_content({"rows": create_table_content(rows)})
    )
    with builder.prepare() as query:
        place = [column.name for column in query.columns].index("_id")
        found = query.execute().content.table_data.row
        print(json.dumps(sorted(row.cell[place].string_value for row in found)), flush=True)
