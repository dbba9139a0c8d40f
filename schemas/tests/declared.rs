//! What `[runtime]` declares: taken as the files would be, and refused with its place in `agent.toml`.
#![cfg(feature = "runtime")]

use jos_schemas::documents::agent_config::AgentConfig;
use jos_schemas::documents::declared;
use jos_schemas::text::Name;
use jos_schemas::{Format, read};
use serde_json::json;

const HEAD: &str = "name = \"ai-box\"\n[runtime]\ndata_dir = \"/srv/node\"\n";

fn read(tables: &str) -> Result<AgentConfig, String> {
    let text = format!("{HEAD}{tables}");
    let parsed = read::document("agent.toml", text.as_bytes(), Format::Toml);
    parsed.map(|parsed| parsed.value).map_err(|report| report.to_string())
}

#[test]
fn prompts_a_program_and_the_chosen_model_become_whole_documents_and_files() {
    let config = read(
        "model = \"two\"\n[runtime.models.one]\nprovider = \"echo\"\n[runtime.models.two]\nprovider = \"openai\"\n\
         [runtime.agents.scribe.orchestration.definitions.say]\ntype = \"prompt\"\nprompt = \"x\"\n\
         propose = [{ kind = \"advance\", payload = {} }]\n[runtime.agents.scribe.orchestration.flows.main]\nsteps = [\"say\"]\n\
         [runtime.agents.mover]\nargv = [\"true\"]\n[[runtime.schedules]]\nname = \"often\"\nagent = \"mover\"\nevery = 5\n",
    );
    let runtime = config.expect("it is sound").runtime.expect("it is there");
    assert_eq!(
        runtime.chosen().and_then(|model| model.provider).map(|p| p.word()),
        Some("openai")
    );
    let files = [
        "agents/mover.json",
        "agents/scribe.jos",
        "schedules/often.json",
        "config/llm.toml",
    ];
    assert_eq!(runtime.files(), files);
    let whole = |name: &str| {
        let name = Name::new(name).expect("a name");
        serde_json::Value::Object(declared::agent(&name, &runtime.agents[&name]))
    };
    let mover = json!({ "kind": "jos.runtime_agent", "name": "mover", "argv": ["true"] });
    assert_eq!(whole("mover"), mover);
    let scribe = whole("scribe");
    assert_eq!(scribe["id_jos"], "scribe");
    assert_eq!(scribe["orchestration_contract"]["version"], "0.0.7");
    assert_eq!(
        scribe["orchestration"]["definitions"]["say"]["propose"][0]["kind"], "advance",
        "nothing is lost"
    );
}

#[test]
fn what_is_wrong_is_named_by_its_place_all_of_it() {
    let said = read("[runtime.agents.greeter]\nargw = [\"true\"]\n[runtime.models.m]\nprovider = \"gpt\"\n")
        .expect_err("refused");
    assert!(said.contains("agent.toml:7:") && said.contains("gpt"), "{said}");
    let said =
        read("[runtime.agents.greeter]\nargw = [\"true\"]\n[[runtime.schedules]]\nname = \"x\"\nagent = \"a\"\n")
            .expect_err("refused");
    for words in [
        "agent.toml:5:",
        "at /runtime/agents/greeter/argw",
        "did you mean \"argv\"?",
        "at /runtime/schedules/0",
        "found 0 of \"every\", \"cron\" and \"at\"",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for (tables, words) in [
        ("model = \"far\"\n", "expected a table [runtime.models.NAME]"),
        (
            "[runtime.models.a]\n[runtime.models.b]\n",
            "found the models a, b and no \"model\"",
        ),
        (
            "[runtime.agents.a]\nname = \"b\"\nargv = [\"x\"]\n",
            "the table's name is the agent's: leave name out",
        ),
        (
            "[[runtime.schedules]]\nname = \"x\"\nagent = \"a\"\nevery = 5\n[[runtime.schedules]]\nname = \"x\"\nagent = \"a\"\nevery = 6\n",
            "which /schedules/0 has already",
        ),
    ] {
        let said = read(tables).expect_err(tables);
        assert!(said.contains(words), "{words}: {said}");
    }
}
