//! `ssl_ciphers`: OpenSSL's list language over the suites of TLS 1.2 that are spoken here.
//!
//! Those are the six that nobody has broken; what the list asks for beside them is told to the caller. TLS 1.3 has suites of
//! its own, which OpenSSL's list does not choose either.

use rustls::{CipherSuite, SupportedCipherSuite};

/// OpenSSL's name of a suite, and what else the list may call it.
struct Suite {
    code: CipherSuite,
    name: &'static str,
    groups: &'static [&'static str],
}

const AES256: &[&str] = &["AESGCM", "AES256", "AES", "SHA384"];
const AES128: &[&str] = &["AESGCM", "AES128", "AES", "SHA256"];
const CHACHA: &[&str] = &["CHACHA20"];
/// What all of them are.
const COMMON: &[&str] = &["ALL", "DEFAULT", "HIGH", "EECDH", "ECDHE", "kEECDH", "kECDHE", "AEAD", "TLSv1.2", "FIPS"];
const BY_ECDSA: &[&str] = &["aECDSA", "ECDSA"];
const BY_RSA: &[&str] = &["aRSA"];

const SUITES: [Suite; 6] = [
    Suite {
        code: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        groups: AES256,
    },
    Suite {
        code: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        groups: AES256,
    },
    Suite {
        code: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        groups: CHACHA,
    },
    Suite {
        code: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        groups: CHACHA,
    },
    Suite {
        code: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        groups: AES128,
    },
    Suite {
        code: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        groups: AES128,
    },
];

impl Suite {
    fn is(&self, word: &str) -> bool {
        let signed = if self.name.contains("ECDSA") { BY_ECDSA } else { BY_RSA };
        self.name == word || [self.groups, COMMON, signed].iter().any(|words| words.contains(&word))
    }

    /// `A+B`: everything that is both.
    fn is_all(&self, words: &str) -> bool {
        words.split('+').all(|word| self.is(word))
    }
}

/// What a list comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Suites in order of preference; empty if the list names none that is spoken.
    pub suites: Vec<CipherSuite>,
    /// Words of the list that stand for suites which are not spoken.
    pub unknown: Vec<String>,
}

/// Reads a list in OpenSSL's language.
pub(super) fn choose(list: &str) -> Chosen {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut killed: Vec<&str> = Vec::new();
    let mut unknown = Vec::new();
    for word in list.split([':', ',', ';', ' ']).filter(|word| !word.is_empty() && !word.starts_with('@')) {
        let (sign, name) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
            _ => ("", word),
        };
        match sign {
            "!" => {
                killed.push(name);
                chosen.retain(|suite| !suite.is_all(name));
            }
            "-" => chosen.retain(|suite| !suite.is_all(name)),
            // Stable: those that are meant go behind the others.
            "+" => chosen.sort_by_key(|suite| suite.is_all(name)),
            _ => {
                let meant = SUITES.iter().filter(|suite| suite.is_all(name));
                let mut any = name.starts_with("TLS_");
                for suite in meant {
                    any = true;
                    let listed = chosen.iter().any(|other| other.code == suite.code);
                    if !listed && !killed.iter().any(|killed| suite.is_all(killed)) {
                        chosen.push(suite);
                    }
                }
                if !any {
                    unknown.push(name.to_owned());
                }
            }
        }
    }
    Chosen { suites: chosen.iter().map(|suite| suite.code).collect(), unknown }
}

/// Whether a suite is one of TLS 1.2 whose key is ECDSA's.
pub(super) fn is_for_ecdsa(suite: CipherSuite) -> bool {
    SUITES.iter().any(|known| known.code == suite && known.is("ECDSA"))
}

/// Whether a suite belongs to TLS 1.3, which any key serves.
pub(super) fn is_tls13(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    )
}

/// OpenSSL's name of the suite in use (`$ssl_cipher`).
pub(super) fn name(suite: SupportedCipherSuite) -> String {
    let suite = suite.suite();
    match SUITES.iter().find(|known| known.code == suite) {
        Some(known) => known.name.to_owned(),
        None => suite.as_str().unwrap_or_default().replace("TLS13_", "TLS_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        let chosen = choose(list);
        let name = |suite: &CipherSuite| SUITES.iter().find(|known| known.code == *suite).map(|known| known.name);
        chosen.suites.iter().filter_map(name).collect()
    }

    #[test]
    fn nginx_s_default_means_all_suites() {
        assert_eq!(names("HIGH:!aNULL:!MD5").len(), 6);
        assert_eq!(choose("HIGH:!aNULL:!MD5").unknown, Vec::<String>::new());
    }

    #[test]
    fn names_are_taken_in_their_order() {
        assert_eq!(
            names("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]
        );
    }

    #[test]
    fn groups_are_joined_killed_removed_and_moved() {
        assert_eq!(names("EECDH+AESGCM:!AES128:!aECDSA"), ["ECDHE-RSA-AES256-GCM-SHA384"]);
        assert_eq!(names("!aRSA:ALL:-CHACHA20").len(), 2);
        assert_eq!(names("aRSA:+AES256").last(), Some(&"ECDHE-RSA-AES256-GCM-SHA384"));
        assert_eq!(names("aRSA:!AES:@STRENGTH"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
    }

    #[test]
    fn what_is_not_spoken_is_told() {
        let chosen = choose("DHE-RSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:!DSS:EDH+AESGCM");
        assert_eq!(chosen.unknown, ["DHE-RSA-AES256-SHA", "EDH+AESGCM"]);
        assert_eq!(chosen.suites, [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]);
    }
}
