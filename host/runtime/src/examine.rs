//! What a wasm file is, without compiling it.
//!
//! A file from a stranger is parsed in a confined child: the parser is safe code, but a file can be made so that
//! parsing it takes all memory or all day. What comes back is small and bounded, and every name in it is the
//! stranger's text.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sovr_capability::text::Untrusted;
use sovr_sandbox::Role;
use wasmparser::{Encoding, KnownCustom, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::errand::{self, Allowed, ErrandError};

/// Bytes of the largest wasm file that is read.
pub const WASM_MAX: u64 = 256 << 20;

/// Imports, exports and producers of one file, counted separately.
pub const NAMES_MAX: usize = 4096;

/// Bytes of all those names together.
const TEXT_MAX: usize = 1 << 20;

/// What one examination may take: the file itself, and a parser and validator that are linear in it.
const ALLOWED: Allowed = Allowed {
    time: Duration::from_secs(20),
    memory: 4 * WASM_MAX,
    file_size: 0,
    threads: false,
};

/// What kind of wasm file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A component: what a pod's script is, and what an entry point of a package may be.
    Component,
    /// A core module: what an entry point of a package may be, if it needs nothing but WASI preview 1.
    Module,
}

/// What a wasm file is, needs and offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Examination {
    /// Component or core module.
    pub kind: Kind,
    /// What it imports, in its own order, each once. For a core module: the names of the modules it imports from.
    pub imports: Vec<Name>,
    /// What it exports, in its own order.
    pub exports: Vec<Name>,
    /// The name in its metadata.
    pub name: Option<Untrusted>,
    /// The tools that say they made it. Anybody can write anything there.
    pub producers: Vec<Producer>,
}

/// The name of an import or export, such as `wasi:cli/run@0.2.6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Name {
    /// Without the version: `wasi:cli/run`.
    pub name: Untrusted,
    /// The version, if the name has one: `0.2.6`.
    pub version: Option<Untrusted>,
}

/// A line of the producers section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Producer {
    /// `language`, `processed-by` or `sdk`.
    pub field: Untrusted,
    /// The tool.
    pub name: Untrusted,
    /// Its version, often empty.
    pub version: Untrusted,
}

impl Name {
    fn parse(text: &str) -> Self {
        match text.rsplit_once('@') {
            Some((name, version)) => Self {
                name: name.into(),
                version: Some(version.into()),
            },
            None => Self {
                name: text.into(),
                version: None,
            },
        }
    }
}

/// Why a file could not be examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExamineError {
    /// It is no wasm at all.
    #[error("this is not WebAssembly in its binary form{hint}")]
    NotWasm {
        /// What it seems to be and what to do, beginning with punctuation; or nothing.
        hint: &'static str,
    },
    /// It is wasm, but not correct.
    #[error("the wasm is not valid: {}", .0.escaped())]
    Invalid(Untrusted),
    /// It is too large, or examining it took too much.
    #[error("the wasm was not examined: {0}")]
    Limit(String),
    /// The file could not be read, or was changed while it was.
    #[error("the wasm could not be read: {0}")]
    Read(#[from] std::io::Error),
    /// The child that examines failed.
    #[error("the wasm could not be examined: {0}")]
    Child(String),
}

impl From<ErrandError> for ExamineError {
    fn from(error: ErrandError) -> Self {
        if error.is_limit() {
            Self::Limit(error.to_string())
        } else {
            Self::Child(error.to_string())
        }
    }
}

/// Whether a file with this beginning can be wasm; says what else it seems to be.
pub(crate) fn check_magic(beginning: &[u8]) -> Result<(), ExamineError> {
    let hint = match beginning {
        [0, b'a', b's', b'm', ..] => return Ok(()),
        [] => "; it is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "; it is native code, which is never taken from a pod. Ship the wasm it was made from"
        }
        [b'P', b'K', 3, 4, ..] => "; it is a zip archive",
        [b'(', ..] | [b';', b';', ..] => {
            "; it looks like the text format. Convert it with `wasm-tools parse`"
        }
        [b'#', b'!', ..] => {
            "; it is a script for an interpreter, which is not run. Build it as a component"
        }
        _ => "",
    };
    Err(ExamineError::NotWasm { hint })
}

/// What a child answers.
type Answer = Result<Examination, Fault>;

#[derive(Debug, Serialize, Deserialize)]
enum Fault {
    Invalid(Untrusted),
    Limit(String),
    Unreadable(String),
}

/// Examines a sealed copy of a file, in a child.
pub(crate) async fn examine(wasm: OwnedFd) -> Result<Examination, ExamineError> {
    let answer: Answer = errand::send(
        Role::Examine,
        &ALLOWED.confinement(),
        vec![wasm],
        &(),
        ALLOWED.time,
    )
    .await?;
    answer.map_err(|fault| match fault {
        Fault::Invalid(why) => ExamineError::Invalid(why),
        Fault::Limit(why) => ExamineError::Limit(why),
        Fault::Unreadable(why) => ExamineError::Child(why),
    })
}

/// The examine child.
pub(crate) fn main() -> ExitCode {
    errand::serve(|(), files: Vec<File>, _| -> Answer {
        let mut file = files
            .first()
            .ok_or_else(|| Fault::Unreadable("no file was given".into()))?;
        let wasm =
            errand::read_whole(&mut file).map_err(|error| Fault::Unreadable(error.to_string()))?;
        read(&wasm)
    })
}

/// Reads and validates wasm in one pass.
fn read(wasm: &[u8]) -> Answer {
    let mut found = Found::default();
    // All finished proposals: what the engine leaves out, compiling refuses with the proposal's name.
    let mut validator = Validator::new_with_features(WasmFeatures::default());
    let mut allocations = wasmparser::FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            let mut function = function.into_validator(std::mem::take(&mut allocations));
            function.validate(&body).map_err(invalid)?;
            allocations = function.into_allocations();
        }
        found.take(payload)?;
    }
    Ok(found.examination)
}

fn invalid(error: wasmparser::BinaryReaderError) -> Fault {
    Fault::Invalid(error.to_string().into())
}

/// What was found so far.
struct Found {
    examination: Examination,
    /// 1 in the outermost component or module.
    depth: u32,
    /// Bytes of names.
    text: usize,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            examination: Examination {
                kind: Kind::Module,
                imports: Vec::new(),
                exports: Vec::new(),
                name: None,
                producers: Vec::new(),
            },
            depth: 0,
            text: 0,
        }
    }
}

impl Found {
    fn take(&mut self, payload: Payload<'_>) -> Result<(), Fault> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.depth += 1;
                if self.depth == 1 && encoding == Encoding::Component {
                    self.examination.kind = Kind::Component;
                }
            }
            Payload::End(_) => self.depth -= 1,
            Payload::ComponentImportSection(imports) if self.depth == 1 => {
                for import in imports {
                    self.import(import.map_err(invalid)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 1 => {
                for export in exports {
                    self.export(export.map_err(invalid)?.name.name)?;
                }
            }
            Payload::ImportSection(imports) if self.depth == 1 => {
                for import in imports.into_imports() {
                    self.import(import.map_err(invalid)?.module)?;
                }
            }
            Payload::ExportSection(exports) if self.depth == 1 => {
                for export in exports {
                    self.export(export.map_err(invalid)?.name)?;
                }
            }
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Producers(producers) => self.producers(producers)?,
                KnownCustom::ComponentName(names) if self.depth == 1 => {
                    for name in names.into_iter().flatten() {
                        if let wasmparser::ComponentName::Component { name, .. } = name {
                            self.name(name)?;
                        }
                    }
                }
                KnownCustom::Name(names) if self.depth == 1 => {
                    // Stops at the first name that cannot be read: names have no meaning for the program.
                    for name in names.into_iter().map_while(Result::ok) {
                        if let wasmparser::Name::Module { name, .. } = name {
                            self.name(name)?;
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, entries: usize, text: usize) -> Result<(), Fault> {
        self.text = self.text.saturating_add(text);
        if entries >= NAMES_MAX {
            return Err(Fault::Limit(format!(
                "it has more than {NAMES_MAX} imports, exports or producers"
            )));
        }
        if self.text > TEXT_MAX {
            return Err(Fault::Limit(format!(
                "its names are longer than {TEXT_MAX} bytes together"
            )));
        }
        Ok(())
    }

    fn import(&mut self, text: &str) -> Result<(), Fault> {
        let name = Name::parse(text);
        // Imports of one module stand together.
        if self.examination.imports.last() != Some(&name)
            && !self.examination.imports.contains(&name)
        {
            self.count(self.examination.imports.len(), text.len())?;
            self.examination.imports.push(name);
        }
        Ok(())
    }

    fn export(&mut self, text: &str) -> Result<(), Fault> {
        self.count(self.examination.exports.len(), text.len())?;
        self.examination.exports.push(Name::parse(text));
        Ok(())
    }

    fn name(&mut self, text: &str) -> Result<(), Fault> {
        self.count(0, text.len())?;
        self.examination.name = Some(text.into());
        Ok(())
    }

    fn producers(&mut self, fields: wasmparser::ProducersSectionReader<'_>) -> Result<(), Fault> {
        // Those of the modules inside a component are the interesting ones: they name the language.
        for field in fields.into_iter().map_while(Result::ok) {
            for value in field.values.into_iter().map_while(Result::ok) {
                let producer = Producer {
                    field: field.name.into(),
                    name: value.name.into(),
                    version: value.version.into(),
                };
                if !self.examination.producers.contains(&producer) {
                    self.count(
                        self.examination.producers.len(),
                        field.name.len() + value.name.len() + value.version.len(),
                    )?;
                    self.examination.producers.push(producer);
                }
            }
        }
        Ok(())
    }
}
