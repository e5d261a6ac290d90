//! `pushstreamd doctor`: looks for what will go wrong, and says of each finding what to do.
//!
//! Looks only: it changes nothing, and publishes nothing unless it is given a URL to watch.

mod clock;
mod endpoint;
mod front;
mod machine;
mod server;

use std::io::Write;

use serde::Serialize;

use super::ToolError;
use crate::cli::Cli;
use crate::cli::tools::Doctor;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    /// As it should be.
    Fine,
    /// It cannot be told, or matters only to some.
    Note,
    /// It will do harm.
    Bad,
}

/// Something that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    grade: Grade,
    /// What was looked at.
    of: &'static str,
    /// How it is.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn fine(of: &'static str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Fine, of, found: found.into(), advice: None }
    }

    fn note(of: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Note, of, found: found.into(), advice: Some(advice.into()) }
    }

    fn bad(of: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, of, found: found.into(), advice: Some(advice.into()) }
    }
}

/// 0 if nothing was found that will do harm.
pub(super) async fn run(cli: &Cli, wanted: &Doctor) -> Result<u8, ToolError> {
    let mut findings = server::look(cli);
    findings.extend(machine::look());
    if let Some(url) = &wanted.url {
        findings.extend(endpoint::look(wanted, url).await?);
        findings.push(front::look(wanted, url).await?);
    }
    let mut out = std::io::stdout().lock();
    if wanted.json {
        serde_json::to_writer_pretty(&mut out, &findings).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for Finding { grade, of, found, advice } in &findings {
            let mark = match grade {
                Grade::Fine => "fine",
                Grade::Note => "note",
                Grade::Bad => "BAD ",
            };
            writeln!(out, "{mark}  {of}: {found}")?;
            if let Some(advice) = advice {
                writeln!(out, "      {advice}")?;
            }
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.grade == Grade::Bad)))
}
