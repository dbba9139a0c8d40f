//! `jos eval`: the cases of `evals/`, each on a node of its own.

use std::fmt::Write as _;
use std::sync::Arc;

use jos_node::evals::{self, Verdict};
use jos_node::models::Echo;
use serde_json::json;

use super::data::{Place, failure, means, outside};
use crate::cli::{Done, Failure, Ui};

/// Run the cases that agents must pass
///
/// A case is a file in evals/: an agent, an input, and what must come out. Each runs on a real node in a fresh directory, with
/// copies of the agents and tools: the live node and the other cases never see it. The model is `echo`, which says back what it
/// is asked, so that a case comes out the same at every run; --model asks the one that is configured.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    jos eval\n  \
    jos eval text-metrics reviewer-rejects\n  \
    jos eval --model                            asks the model of config/llm.toml\n\n\
    Exit codes: 0 all passed, 1 one did not, 2 bad use or nothing to do.")]
pub(crate) struct Args {
    /// These cases alone, by name
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Ask the configured model instead of echo
    #[arg(long)]
    model: bool,
}

pub(crate) fn run(args: &Args, place: &Place, ui: &Ui) -> Done {
    let data = place.open()?;
    let (cases, broken) = evals::load(data.root()).map_err(Failure::invalid)?;
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|n| n == name);
    let known = |name: &String| cases.iter().any(|c| c.name == *name) || broken.iter().any(|b| b.name == *name);
    if let Some(unknown) = args.names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return Err(
            Failure::invalid(format!("found no case named {unknown:?}")).help(format!("there are: {}", all.join(", ")))
        );
    }
    let mut verdicts: Vec<Verdict> = broken.iter().filter(|broken| wanted(&broken.name)).cloned().collect();
    let means = means(if args.model { place.model()? } else { Arc::new(Echo) });
    let outside = outside();
    for case in cases.iter().filter(|case| wanted(&case.name)) {
        let scratch = data.path(&format!("state/eval-{}", outside.hex(8)));
        verdicts.push(evals::run(case, data.root(), &scratch, &means, &outside).map_err(failure)?);
    }
    if verdicts.is_empty() {
        return Err(Failure::invalid(format!("{}: no case", data.path("evals").display()))
            .help("a case is a file in evals/; `jos runtime init --with-examples --force` puts some there"));
    }
    let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
    let mut text = String::new();
    for verdict in &verdicts {
        let word = if verdict.passed { "pass" } else { "FAIL" };
        let _ = writeln!(text, "{word}  {}", verdict.name);
        for differs in &verdict.differs {
            let _ = writeln!(text, "      {}", differs.replace('\n', "\n      "));
        }
    }
    let all = verdicts.len();
    let _ = writeln!(text, "{passed} of {all} passed");
    let value = json!({ "passed": passed, "failed": all - passed, "cases": verdicts, "ok": passed == all });
    ui.result(&value, text);
    Ok(u8::from(passed != all))
}
