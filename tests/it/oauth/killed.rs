use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use local_llm_mcp::auth::Store;

use crate::scratch::Scratch;

/// What was acknowledged, and what may or may not have happened.
#[derive(Default)]
struct Model {
    /// Names that must be there.
    there: BTreeSet<String>,
    /// Names that may be there: the command was killed before it said so.
    unsure: BTreeSet<String>,
}

/// Cheap and the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn start(scratch: &Scratch, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-llm-mcp"));
    command.env_clear().env("MCP_STATE_DIR", ".").current_dir(scratch.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Random commands, most of them killed at some moment, against what they acknowledged.
#[test]
fn statement_14_kill_9_loses_nothing_acknowledged_and_brings_nothing_back() {
    let scratch = Scratch::new();
    let store = Store::new(scratch.path());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut model = Model::default();
    let (mut killed, mut generation) = (0, 0);
    for round in 0..300 {
        let adds = model.there.len() < 3 || dice.roll(2) == 0;
        let name = if adds {
            format!("token-{round}")
        } else {
            let place = usize::try_from(dice.roll(model.there.len() as u64)).unwrap();
            model.there.iter().nth(place).unwrap().clone()
        };
        let verb = if adds { "add" } else { "revoke" };
        let mut child = start(&scratch, &["token", verb, &name]);
        // From before its first line of code to after its end.
        std::thread::park_timeout(Duration::from_micros(dice.roll(9000)));
        child.kill().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let ended = child.wait().unwrap();
        killed += usize::from(ended.code().is_none());
        // Words on stdout are the acknowledgement.
        match (verb, said.is_empty()) {
            ("add", false) => drop(model.there.insert(name)),
            ("revoke", false) => drop(model.there.remove(&name)),
            ("add", true) => drop(model.unsure.insert(name)),
            _ => {
                model.there.remove(&name);
                model.unsure.insert(name);
            }
        }
        let state = store.read().expect("the store is whole");
        assert!(state.generation >= generation, "nothing older comes back");
        generation = state.generation;
        let kept: BTreeSet<String> = state.tokens.into_iter().map(|it| it.name).collect();
        assert!(model.there.is_subset(&kept), "lost: {:?}", model.there.difference(&kept));
        let known: BTreeSet<String> = model.there.union(&model.unsure).cloned().collect();
        assert!(kept.is_subset(&known), "back: {:?}", kept.difference(&known));
        // What is unsure has been decided by now, once and for all.
        let decided: Vec<String> = model.unsure.iter().cloned().collect();
        for name in decided {
            model.unsure.remove(&name);
            if kept.contains(&name) {
                model.there.insert(name);
            }
        }
    }
    assert!((30..300).contains(&killed), "{killed} were killed");
    let left = scratch.names();
    assert!(left.len() <= 2, "killed writers leave nothing behind but for the next: {left:?}");
}
