//! The table of settings as a page: `docs/configuration.md`.

use std::fmt::Write;

use super::{GROUPS, Key};

const HEAD: &str = "\
# Configuration

<!-- Written by `floodmark reference`; a test compares the two. Change the table in src/config.rs instead. -->

Every setting has one name, and four places that can set it. A later one wins:

1. its default,
2. `floodmark.toml` in the current folder, or the file that `--config FILE` or `FLOODMARK_CONFIG` names,
3. the environment variable `FLOODMARK_NAME`, in capitals and with `_` for `-`,
4. the flag `--name`.

- A name that means nothing is refused, in the file, in the environment and on the command line, and so is a value that is not
  allowed, even where a stronger place covers it. The message names file and line, the key, and what is allowed; the
  exit status is 78. (Variables that Kubernetes makes for a service called floodmark, `FLOODMARK_SERVICE_…` and `FLOODMARK_PORT…`,
  are passed over.)
- A list replaces the list of a weaker place. In the file it is an array, on the command line the flag is given several
  times, in the environment `:` separates the values.
- A relative path in the file is relative to the folder of the file; elsewhere to the current folder. Paths in settings are UTF-8.
- Sizes take a unit (`64KiB`, `10MB`), times must have one (`500ms`, `30s`, `5m`, `2h`).
- A switch is `true` or `false`; `--once` alone means `--once=true`.
- A run that gets SIGHUP reads the file again and takes up {live}; what else has changed it names in its log, and takes it up
  at the next start.

A complete file, with every default:

```toml
";

/// The whole page, in Markdown.
pub fn reference() -> String {
    let live: Vec<String> = super::LIVE.iter().map(|name| format!("`{name}`")).collect();
    let mut page = HEAD.replace("{live}", &live.join(", "));
    let mut table = "";
    for group in GROUPS {
        if group.table != table {
            table = group.table;
            let _ = writeln!(page, "\n[{table}]");
        }
        for key in group.keys {
            let _ = writeln!(page, "{}", example(key));
        }
    }
    page.push_str("```\n");
    let mut table = None;
    for group in GROUPS {
        let heading = if group.table.is_empty() {
            "Above the first table".into()
        } else {
            format!("`[{}]`", group.table)
        };
        if table != Some(group.table) {
            table = Some(group.table);
            let _ = writeln!(page, "\n## {heading}\n");
        } else {
            page.push('\n');
        }
        let _ = writeln!(
            page,
            "{}\n\n| key | flag | environment | default | allowed | |\n|---|---|---|---|---|---|",
            group.about
        );
        for key in group.keys {
            let short = key
                .short
                .map_or(String::new(), |letter| format!("`-{letter}`, "));
            let default = match key.default {
                [] => "unset".to_owned(),
                values => format!("`{}`", values.join("`, `")),
            };
            let allowed = key.rule.allowed() + if key.many { "; several" } else { "" };
            let (name, env, help) = (key.name, key.env, key.help.replace('|', "\\|"));
            let _ = writeln!(
                page,
                "| `{name}` | {short}`--{name}` | `{env}` | {default} | {allowed} | {help} |"
            );
        }
    }
    page
}

/// A line of the complete file; what is unset is commented out.
fn example(key: &Key) -> String {
    let quoted = |value: &str| match key.rule {
        super::Rule::Switch | super::Rule::Count(..) | super::Rule::Number(..) => value.to_owned(),
        _ => format!("{value:?}"),
    };
    let values: Vec<String> = key.default.iter().map(|value| quoted(value)).collect();
    match (key.many, values.as_slice()) {
        (true, values) => format!("{} = [{}]", key.name, values.join(", ")),
        (false, []) => format!("# {} = {}", key.name, quoted(key.rule.placeholder())),
        (false, values) => format!("{} = {}", key.name, values.join(", ")),
    }
}
