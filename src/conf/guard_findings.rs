//! What was found on the way that could leave a push location unguarded; [`super::guard`] looks for it and judges it.

use super::error::Place;
use super::variable::Complex;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Guards {
    pub(super) findings: Vec<Finding>,
    pub(super) readings: Vec<Reading>,
    pub(super) asks: Vec<Ask>,
}

/// A guard that would be missing.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) subjects: Vec<Subject>,
}

/// A push location, as written, and the place of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) location: String,
    pub(super) server: String,
}

/// A directive that guards push locations and is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unguarded {
    /// Its name.
    pub name: String,
    /// `file:line`.
    pub place: String,
    /// `file:line` of the servers whose push locations it guards.
    pub servers: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A guard of the table.
    Guard,
    /// A word nobody knows, inside a push location.
    Unknown,
    /// A word that is nearly one that guards.
    Typo(&'static str),
    /// A value depends on a variable that cannot be filled in.
    Reads(String),
    /// What `auth_request` asks is answered by something that cannot be asked.
    Asks(String),
}

/// A value that decides about requests of a push location.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) place: Place,
    pub(super) directive: String,
    pub(super) values: Vec<Complex>,
    pub(super) subject: Subject,
}

/// An `auth_request` of a push location.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) place: Place,
    pub(super) uri: Vec<u8>,
    pub(super) subject: Subject,
}

impl Guards {
    /// Notes values that decide about requests of `location`.
    pub(super) fn reads(&mut self, place: &Place, directive: &str, values: Vec<Complex>, subject: Subject) {
        self.readings.push(Reading { place: place.clone(), directive: directive.to_owned(), values, subject });
    }

    /// Notes a guard that would be missing, once for all the locations it guards.
    pub(super) fn find(&mut self, place: &Place, kind: Kind, name: &str, subject: &Subject) {
        let known =
            self.findings.iter_mut().find(|found| found.place == *place && found.kind == kind && found.name == name);
        match known {
            Some(found) if found.subjects.contains(subject) => {}
            Some(found) => found.subjects.push(subject.clone()),
            None => self.findings.push(Finding {
                place: place.clone(),
                kind,
                name: name.to_owned(),
                subjects: vec![subject.clone()],
            }),
        }
    }
}

impl Unguarded {
    pub(super) fn of(found: &Finding) -> Self {
        let mut servers: Vec<String> = found.subjects.iter().map(|subject| subject.server.clone()).collect();
        servers.dedup();
        Self { name: found.name.clone(), place: found.place.to_string(), servers }
    }
}
