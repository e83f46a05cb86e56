//! `sovr-host audit`: what runs were allowed, refused and did.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use sovr_capability::audit::{self, Kind, Line, Verified};
use sovr_capability::{Home, RunId, Untrusted};

use crate::exit::Exit;
use crate::failure::{self, Usage};
use crate::figures::{count, number};
use crate::output::{BAD, GOOD, Output};
use crate::table::{Align, Table};

/// Show what runs were allowed, refused and did
///
/// Every run writes a log before each effect; its lines are chained by digests, so that a change shows.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: List,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List runs, newest first; also what `audit` alone does
    List(List),
    /// Show the lines of a run's log
    Show(Run),
    /// Check that logs were not changed; exits with 5 if one was
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
struct List {
    /// How many at most
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// The run, or the beginning of its name; the last run if not given
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The run, or the beginning of its name; all runs if not given
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

/// A run in one row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    run: String,
    pod: Option<Untrusted>,
    ending: Option<Untrusted>,
    cost: Option<Untrusted>,
    refused: u64,
    lines: u64,
    /// Why the log cannot be believed.
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Checked {
    run: String,
    #[serde(flatten)]
    verified: Option<Verified>,
    problem: Option<String>,
}

/// Shows it.
pub(crate) fn audit(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let home = Home::from_environment()?;
    match &args.action {
        None => list(&home, args.list.limit, output),
        Some(Action::List(List { limit })) => list(&home, *limit, output),
        Some(Action::Show(Run { run })) => show(&home, &one(&home, run.as_deref())?, output),
        Some(Action::Verify(Verify { run: None })) => verify(&home, &runs(&home)?, output),
        Some(Action::Verify(Verify { run })) => {
            verify(&home, &[one(&home, run.as_deref())?], output)
        }
    }
}

/// All runs, newest first; none before the first run has made the directory.
fn runs(home: &Home) -> anyhow::Result<Vec<RunId>> {
    Ok(if home.audit().exists() {
        audit::runs(home)?
    } else {
        Vec::new()
    })
}

/// The run whose name begins so.
fn one(home: &Home, beginning: Option<&str>) -> anyhow::Result<RunId> {
    let runs = self::runs(home)?;
    let Some(beginning) = beginning else {
        return runs
            .into_iter()
            .next()
            .ok_or_else(|| Usage("no pod has run yet".to_owned()).into());
    };
    let mut found = runs
        .into_iter()
        .filter(|run| run.as_str().starts_with(beginning));
    let shown = Untrusted::from(beginning).escaped();
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        (None, _) => Err(Usage(format!(
            "no run begins with `{shown}`; `sovr-host audit` lists them"
        ))
        .into()),
        (Some(_), Some(_)) => Err(Usage(format!(
            "more than one run begins with `{shown}`; write more of its name"
        ))
        .into()),
    }
}

fn list(home: &Home, limit: usize, output: Output) -> anyhow::Result<Exit> {
    let runs = runs(home)?;
    let rows: Vec<Row> = runs.iter().take(limit).map(|run| row(home, run)).collect();
    if output.json {
        output.document(&rows)?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        output.say("No pod has run yet.");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new([
        ("run", Align::Left),
        ("pod", Align::Left),
        ("ended", Align::Left),
        ("cost in GLM", Align::Right),
        ("refused", Align::Right),
        ("lines", Align::Right),
    ]);
    let word = |word: &Option<Untrusted>| word.as_ref().map_or("-".to_owned(), Untrusted::escaped);
    for row in &rows {
        let ended = match (&row.problem, &row.ending) {
            (Some(_), _) => "log changed".to_owned(),
            (None, None) => "open".to_owned(),
            (None, ending) => word(ending),
        };
        let cells = [
            row.run.clone(),
            word(&row.pod),
            ended,
            row.cost.as_ref().map_or("-".to_owned(), cost),
            row.refused.to_string(),
            row.lines.to_string(),
        ];
        table.row(cells);
    }
    output.result(table.within(output.width()))?;
    for problem in rows.iter().filter_map(|row| row.problem.as_ref()) {
        output.warn(problem);
    }
    if runs.len() > limit {
        output.say(format_args!(
            "and {} older; --limit shows more",
            runs.len() - limit
        ));
    }
    Ok(Exit::Ok)
}

fn cost(text: &Untrusted) -> String {
    text.raw().parse().map_or_else(|_| text.escaped(), number)
}

fn row(home: &Home, run: &RunId) -> Row {
    let mut row = Row {
        run: run.to_string(),
        pod: None,
        ending: None,
        cost: None,
        refused: 0,
        lines: 0,
        problem: None,
    };
    let lines = match audit::read(home, run) {
        Ok(lines) => lines,
        Err(error) => {
            return Row {
                problem: Some(error.to_string()),
                ..row
            };
        }
    };
    for line in lines {
        match line {
            Ok(line) => {
                row.lines += 1;
                row.refused += u64::from(line.kind == Kind::Denied);
                let word = |key| {
                    line.detail
                        .get(key)
                        .and_then(Value::as_str)
                        .map(Untrusted::from)
                };
                match line.kind {
                    Kind::Opened => row.pod = word("pod"),
                    Kind::Closed => (row.ending, row.cost) = (word("ending"), word("cost")),
                    _ => {}
                }
            }
            Err(error) => row.problem = Some(error.to_string()),
        }
    }
    row
}

fn show(home: &Home, run: &RunId, output: Output) -> anyhow::Result<Exit> {
    for line in audit::read(home, run)? {
        let line = line?;
        if output.json {
            output.result(crate::json::line(&line)? + "\n")?;
        } else {
            output.result(words(&line, output))?;
        }
    }
    Ok(Exit::Ok)
}

/// `   12  07:36:00.123  allowed  golem.open  budget=10 workers=3`
fn words(line: &Line, output: Output) -> String {
    let (kind, style) = match line.kind {
        Kind::Opened => ("opened", None),
        Kind::Allowed => ("allowed", None),
        Kind::Denied => ("denied", Some(BAD)),
        Kind::Outcome => ("outcome", None),
        Kind::Note => ("note", None),
        Kind::Closed => ("closed", None),
    };
    let padded = format!("{kind:<7}");
    let kind = style.map_or(padded.clone(), |style| output.stdout.paint(style, &padded));
    let time = line.time.strftime("%H:%M:%S.%3f");
    let of = line.of.map_or(String::new(), |of| format!(" of {of}"));
    let what = Untrusted::from(line.what.as_str()).escaped();
    let mut text = format!("{:>5}  {time}  {kind}  {what}{of}", line.seq);
    match &line.detail {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                // Writing to a string does not fail.
                let _ = write!(
                    text,
                    "  {}={}",
                    Untrusted::from(name.as_str()).escaped(),
                    plain(value)
                );
            }
        }
        value => text.push_str(&format!("  {}", plain(value))),
    }
    text + "\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => Untrusted::from(text.as_str()).escaped(),
        value => Untrusted::from(value.to_string()).escaped(),
    }
}

fn verify(home: &Home, runs: &[RunId], output: Output) -> anyhow::Result<Exit> {
    let checked: Vec<Checked> = runs
        .iter()
        .map(|run| match audit::verify(home, run) {
            Ok(verified) => Checked {
                run: run.to_string(),
                verified: Some(verified),
                problem: None,
            },
            Err(error) => Checked {
                run: run.to_string(),
                verified: None,
                problem: Some(error.to_string()),
            },
        })
        .collect();
    let broken = checked
        .iter()
        .filter(|checked| checked.problem.is_some())
        .count();
    if output.json {
        output.document(&checked)?;
    } else {
        for Checked {
            run,
            verified,
            problem,
        } in &checked
        {
            let ok = output.stdout.paint(GOOD, "ok");
            match (verified, problem) {
                (Some(verified), _) => {
                    let open = if verified.closed {
                        ""
                    } else {
                        ", has no end yet"
                    };
                    let lines = count(verified.lines, "line", "lines");
                    output.result(format!(
                        "{ok}  {run}  {lines}{open}, head {}\n",
                        verified.head.short()
                    ))?;
                }
                (None, Some(problem)) => failure::say(problem, output),
                (None, None) => {}
            }
        }
    }
    Ok(if broken == 0 {
        Exit::Ok
    } else {
        Exit::Unavailable
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sovr_capability::Digest;

    use super::*;
    use crate::output::Paint;

    #[test]
    fn a_line_is_one_line_whatever_a_guest_put_into_it() {
        let output = Output {
            json: false,
            quiet: false,
            stdout: Paint(false),
            stderr: Paint(false),
        };
        let line = Line {
            seq: 7,
            time: "2026-11-21T07:36:00.1234Z".parse().unwrap(),
            kind: Kind::Denied,
            what: "golem.open".to_owned(),
            of: None,
            detail: json!({ "budget": "11", "label": "a\n\u{1b}[2J", "workers": 3 }),
            prev: Digest::of(""),
        };
        assert_eq!(
            words(&line, output),
            "    7  07:36:00.123  denied   golem.open  budget=11  label=a\\n\\u{1b}[2J  workers=3\n"
        );
    }
}
