//! The questions of the original, in its order; and what it does not ask and a pod needs.
//!
//! Each answer is held against what [`scaffold`] would say of a pod that has it, so that nobody answers ten questions to
//! hear that the second answer was wrong. References and paths keep the case of their letters, which the original's do
//! not. The original asks a task for "payloads" and writes the answers into `pods`; here it is asked for pods.

use std::path::{Path, PathBuf};

use sovr_pod::Error;
use sovr_pod::scaffold::{self, New, NewPayload, NewPod, NewTask, What};
use sovr_pod::task::Mode;

use crate::interview::Interview;
use crate::prompt::Console;

const WELCOME: &str = "\
A pod is a script that works on Golem providers; a task runs several pods.
What stands in brackets is the answer of an empty line. Ctrl-C ends this, and
nothing is made.
";

/// Asks for everything. `new` holds what is offered as answers.
pub(super) fn ask<C: Console>(
    talk: &mut Interview<C>,
    parent: &Path,
    mut new: New,
) -> anyhow::Result<New> {
    talk.say(WELCOME)?;
    let is_task = {
        let (pod, task) = (("pod", false), ("task", true));
        let task_first = matches!(new.what, What::Task(_));
        let choices = if task_first { [task, pod] } else { [pod, task] };
        talk.choice("Pod or task?", choices)?
    };
    // A pod without anything is valid, so that a fault is one of the answer.
    let mut probe = New {
        what: What::Pod(NewPod::default()),
        ..new.clone()
    };
    new.name = talk.line("Name", &new.name, |name| {
        probe.name = name.to_owned();
        valid(parent, &probe).map(|()| name.to_owned())
    })?;
    for (question, answer) in [
        ("Description", &mut new.description),
        ("Author", &mut new.author),
        ("Version", &mut new.version),
    ] {
        let default = answer.clone();
        *answer = talk.line(question, &default, |words| Ok(words.to_owned()))?;
    }
    new.public = talk.yes("Public (persisting it shares it)?", new.public)?;

    if is_task {
        new.what = What::Task(match new.what {
            What::Task(task) => task,
            What::Pod(_) => NewTask::default(),
        });
        task(talk, parent, new)
    } else {
        new.what = What::Pod(match new.what {
            What::Pod(pod) => pod,
            What::Task(_) => NewPod::default(),
        });
        pod(talk, parent, new)
    }
}

fn pod<C: Console>(talk: &mut Interview<C>, parent: &Path, mut new: New) -> anyhow::Result<New> {
    let What::Pod(offered) = new.what.clone() else {
        return Ok(new);
    };
    let with = |new: &New, pod: NewPod| New {
        what: What::Pod(pod),
        ..new.clone()
    };
    let mut pod = NewPod::default();
    let file = offered.component.as_deref().and_then(Path::file_name);
    let file = file.map_or(format!("{}.wasm", new.name), |file| {
        file.to_string_lossy().into_owned()
    });
    let exec = offered.exec.unwrap_or(format!("script/{file}"));
    pod.exec = talk.line("Component and its arguments", &exec, |exec| {
        let exec = Some(exec.to_owned());
        let probe = NewPod {
            exec: exec.clone(),
            ..NewPod::default()
        };
        valid(parent, &with(&new, probe)).map(|()| exec)
    })?;
    let component = offered.component.unwrap_or_default();
    let component = component.to_string_lossy();
    pod.component = talk.line(
        "File to copy there (none if it is still to be built)",
        &component,
        |path| {
            let component = (!path.is_empty()).then(|| PathBuf::from(path));
            let probe = NewPod {
                component: component.clone(),
                ..pod.clone()
            };
            valid(parent, &with(&new, probe)).map(|()| component)
        },
    )?;
    pod.payload = payload(
        talk,
        "Does it work on archives of other pods?",
        offered.payload,
        |payload| {
            let probe = NewPod {
                payload,
                ..pod.clone()
            };
            valid(parent, &with(&new, probe))
        },
    )?;
    new.what = What::Pod(pod);
    Ok(new)
}

fn task<C: Console>(talk: &mut Interview<C>, parent: &Path, mut new: New) -> anyhow::Result<New> {
    let What::Task(offered) = new.what.clone() else {
        return Ok(new);
    };
    let with = |new: &New, task: NewTask| New {
        what: What::Task(task),
        ..new.clone()
    };
    let mut task = NewTask {
        pods: offered.pods,
        ..NewTask::default()
    };
    if task.pods.is_empty() {
        talk.say("The pods it runs, in order; an empty line ends the list.")?;
        loop {
            let question = format!("Reference of pod {}", task.pods.len() + 1);
            let more = talk.line(&question, "", |reference| {
                let mut pods = task.pods.clone();
                if !reference.is_empty() || pods.is_empty() {
                    pods.push(reference.to_owned());
                }
                let probe = NewTask {
                    pods,
                    ..NewTask::default()
                };
                valid(parent, &with(&new, probe))
                    .map(|()| (!reference.is_empty()).then(|| reference.to_owned()))
            })?;
            match more {
                Some(reference) => task.pods.push(reference),
                None => break,
            }
        }
    }
    task.payload = payload(
        talk,
        "Do all of them work on archives of other pods?",
        offered.payload,
        |payload| {
            let probe = NewTask {
                payload,
                ..task.clone()
            };
            valid(parent, &with(&new, probe))
        },
    )?;
    let (sequential, parallel) = (
        ("sequential", Mode::Sequential),
        ("parallel", Mode::Parallel),
    );
    let choices = match offered.mode {
        Mode::Sequential => [sequential, parallel],
        Mode::Parallel => [parallel, sequential],
    };
    talk.say("Sequential: each pod gets the output of the one before; parallel: none does.")?;
    loop {
        task.mode = talk.choice("Sequential or parallel?", choices)?;
        match valid(parent, &with(&new, task.clone())) {
            Ok(()) => break,
            Err(problem) => talk.problem(&problem)?,
        }
    }
    new.what = What::Task(task);
    Ok(new)
}

/// Archives of other pods, until an empty reference.
fn payload<C: Console>(
    talk: &mut Interview<C>,
    question: &str,
    offered: Vec<NewPayload>,
    check: impl Fn(Vec<NewPayload>) -> Result<(), String>,
) -> anyhow::Result<Vec<NewPayload>> {
    if !offered.is_empty() || !talk.yes(question, false)? {
        return Ok(offered);
    }
    talk.say("Their references and paths; an empty reference ends the list.")?;
    let mut payload = Vec::new();
    loop {
        let with = |reference: &str, data: &str| {
            let mut all: Vec<NewPayload> = payload.clone();
            all.push(NewPayload {
                reference: reference.to_owned(),
                data: data.to_owned(),
            });
            all
        };
        let question = format!("Reference {}", payload.len() + 1);
        let reference = talk.line(&question, "", |reference| {
            if reference.is_empty() {
                return Ok(None);
            }
            check(with(reference, "/valid.zip")).map(|()| Some(reference.to_owned()))
        })?;
        let Some(reference) = reference else {
            return Ok(payload);
        };
        let all = talk.line(
            "Path of the archive in it, such as /images.zip",
            "",
            |data| {
                let all = with(&reference, data);
                check(all.clone()).map(|()| all)
            },
        )?;
        payload = all;
    }
}

/// Whether this could be made; else why not, without what belongs to a file that is not there yet.
fn valid(parent: &Path, new: &New) -> Result<(), String> {
    scaffold::check(parent, new).map_err(|error| match error {
        Error::Recipe { problems, .. } => problems.join("\n"),
        Error::Exec { source, .. } => format!("this {source}"),
        error => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::interview::tests::Script;
    use crate::output::Paint;

    fn offered() -> New {
        New {
            name: String::new(),
            description: String::new(),
            author: String::new(),
            version: "1.0".to_owned(),
            public: true,
            what: What::Pod(NewPod::default()),
        }
    }

    fn asked(parent: &Path, offered: New, answers: &[&str]) -> (anyhow::Result<New>, String) {
        let mut script = Script::of(answers);
        let new = ask(
            &mut Interview::new(&mut script, Paint(false), None),
            parent,
            offered,
        );
        (new, script.shown)
    }

    /// The questions in the order in which they were asked.
    fn positions(shown: &str, questions: &[&str]) {
        let mut from = 0;
        for question in questions {
            let at = shown[from..].find(question);
            from += at.unwrap_or_else(|| panic!("{question} is not next in {shown}"));
        }
    }

    #[test]
    fn a_pod_is_asked_for_in_the_originals_order_and_case_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let wasm = dir.path().join("Built.wasm");
        fs::write(&wasm, "\0asm").unwrap();
        let reference = "Da".repeat(32);
        let (new, shown) = asked(
            dir.path(),
            offered(),
            &[
                "",
                "Render",
                "Draws  pictures",
                "Me",
                "",
                "no",
                "script/R.wasm --In A",
                wasm.to_str().unwrap(),
                "yes",
                &reference,
                "/Data.ZIP",
                "",
            ],
        );
        positions(
            &shown,
            &[
                "Pod or task? [pod]: ",
                "Name: ",
                "Description: ",
                "Author: ",
                "Version [1.0]: ",
                "Public (persisting it shares it)? [yes]: ",
                "Component and its arguments [script/Render.wasm]: ",
                "File to copy there",
                "Does it work on archives of other pods? [no]: ",
                "Reference 1: ",
                "Path of the archive in it, such as /images.zip: ",
                "Reference 2: ",
            ],
        );
        // The path of the round that ends the list is not asked for.
        assert!(shown.ends_with("Reference 2: "), "{shown}");
        let new = new.unwrap();
        assert_eq!(
            (new.name.as_str(), new.description.as_str(), new.public),
            ("Render", "Draws  pictures", false)
        );
        let What::Pod(pod) = &new.what else {
            panic!("{new:?}")
        };
        assert_eq!(pod.exec.as_deref(), Some("script/R.wasm --In A"));
        assert_eq!(pod.payload[0].reference, reference);
        assert_eq!(pod.payload[0].data, "/Data.ZIP");
        scaffold::create(dir.path(), &new).unwrap();
        assert!(dir.path().join("Render/script/R.wasm").exists());
    }

    #[test]
    fn a_wrong_answer_is_asked_again_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("taken")).unwrap();
        let reference = "da".repeat(32);
        let (new, shown) = asked(
            dir.path(),
            offered(),
            &[
                "perhaps",
                "pod",
                "",
                "../x",
                "SharedPods",
                "taken",
                "fine",
                "",
                "",
                "",
                "jein",
                "y",
                "python3 script/x.py",
                "output/x.wasm",
                "",
                "/absent.wasm",
                "",
                "y",
                "short",
                &reference,
                "images.zip",
                "/../x",
                "/images.zip",
                "",
            ],
        );
        let new = new.unwrap();
        assert_eq!(new.name, "fine");
        for words in [
            "please answer pod or task",
            "the first a letter or digit",
            "keeps this name for itself",
            "exists already",
            "please answer yes or no",
            "python3",
            "which a run could replace",
            "/absent.wasm",
            "64 or 128 hexadecimal digits",
            "expected an absolute path",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        scaffold::create(dir.path(), &new).unwrap();
    }

    #[test]
    fn a_task_is_asked_for_its_pods_then_for_payload_then_for_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = ("A1".repeat(32), "b2".repeat(32));
        let (new, shown) = asked(
            dir.path(),
            offered(),
            &[
                "Task",
                "keras",
                "",
                "",
                "",
                "",
                "",
                &one,
                "zz",
                &two,
                &one,
                "",
                "yes",
                &two,
                "/Images.zip",
                "",
                "par",
                "sequential",
            ],
        );
        positions(
            &shown,
            &[
                "Reference of pod 1: ",
                "Reference of pod 2: ",
                "Reference of pod 4: ",
                "Do all of them work on archives",
                "Reference 1: ",
                "Sequential or parallel? [sequential]: ",
                "in parallel mode both would do the same work",
            ],
        );
        let new = new.unwrap();
        let What::Task(task) = &new.what else {
            panic!("{new:?}")
        };
        assert_eq!(task.pods, [one.clone(), two, one]);
        assert_eq!(task.payload[0].data, "/Images.zip");
        assert_eq!(task.mode, Mode::Sequential);
        scaffold::create(dir.path(), &new).unwrap();
    }

    #[test]
    fn flags_are_offered_as_answers() {
        let dir = tempfile::tempdir().unwrap();
        let flags = New {
            author: "Me".to_owned(),
            public: false,
            what: What::Task(NewTask {
                pods: vec!["a1".repeat(32)],
                mode: Mode::Parallel,
                ..NewTask::default()
            }),
            ..offered()
        };
        let (new, shown) = asked(
            dir.path(),
            flags.clone(),
            &["", "x", "", "", "", "", "", ""],
        );
        assert_eq!(
            new.unwrap(),
            New {
                name: "x".to_owned(),
                ..flags
            }
        );
        assert!(!shown.contains("Reference of pod"), "{shown}");
    }

    #[test]
    fn answers_that_end_early_make_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (new, _) = asked(dir.path(), offered(), &["pod", "x", "", ""]);
        assert!(new.unwrap_err().is::<crate::failure::Stopped>());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
