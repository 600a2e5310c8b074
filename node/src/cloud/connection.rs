//! External connections as a node uses them: what the catalog keeps of one, and what a URI that names one comes to.
//!
//! The catalog keeps one text and never reads it: a URI and, behind a line break, the secondary one, which is tried where the
//! first is denied. `external://name/path` is resolved at each use, upon a view, so that who uses a connection follows its ALTER
//! at the next step. Source: cloud-jobs specification, A.8.

use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, ConnectionUri};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::{Need, Requirement, UriAccess};
use grantd_catalog::view::View;

use crate::cloud::redact;
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::{AwsAuth, AwsKms, External, GcpAuth, Gs, Purpose, S3, Uri};

/// Between the two URIs. No URI holds one.
const SEPARATOR: char = '\n';

/// What the catalog keeps of a connection with these URIs.
pub fn joined(first: &str, secondary: Option<&str>) -> String {
    match secondary {
        None => first.to_owned(),
        Some(secondary) => format!("{first}{SEPARATOR}{secondary}"),
    }
}

/// The URI of a connection, and the secondary one.
pub fn split(kept: &ConnectionUri) -> (&str, Option<&str>) {
    match kept.expose().split_once(SEPARATOR) {
        Some((first, secondary)) => (first, Some(secondary)),
        None => (kept.expose(), None),
    }
}

/// What of a URI may be shown.
pub fn redacted(uri: &str) -> String {
    redact::uri(uri)
}

/// What a URI comes to: the ways to one place, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// At least one; no [`Uri::External`].
    pub ways: Vec<Uri>,
    /// The connection that it goes through.
    pub connection: Option<Name>,
}

impl Target {
    /// Of what is to be kept as a connection.
    pub fn of_stored(kept: &ConnectionUri, settings: &NodeSettings) -> Result<Self, Refusal> {
        let (first, secondary) = split(kept);
        let texts = [Some(first), secondary].into_iter().flatten();
        let read = |text| Uri::parse(text, Purpose::Connection, settings);
        let ways = texts.map(read).collect::<Result<Vec<_>, _>>()?;
        if let [first, secondary] = &*ways
            && first.kind() != secondary.kind()
        {
            return Err(Refusal::new(
                grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE,
                format!(
                    "the secondary URI is of type {}, the first of type {}",
                    secondary.kind(),
                    first.kind()
                ),
            )
            .with_hint("Both must lead to the same place."));
        }
        Ok(Self { ways, connection: None })
    }

    /// Of a URI that is used for `purpose` on `view`.
    ///
    /// Errors: those of [`Uri::parse`]; a connection that is not there, or is for something else.
    pub fn of_used(
        text: &str,
        purpose: Purpose,
        view: &View,
        settings: &NodeSettings,
    ) -> Result<Self, Refusal> {
        let External { name, path } = match Uri::parse(text, purpose, settings)? {
            Uri::External(external) => external,
            uri => return Ok(Self { ways: vec![uri], connection: None }),
        };
        let name = Name::normalize(&name);
        let state = view.state();
        let loaded = |refusal: Refusal| Refusal {
            message: format!("failed to load external connection object: {}", refusal.message),
            ..refusal
        };
        let id = state.resolve_external_connection(&name).map_err(loaded)?;
        let Some(Body::ExternalConnection(connection)) = state.object(id).map(|object| &object.body) else {
            return Err(grantd_catalog::refusal::no_such_external_connection(&name));
        };
        let kept = Self::of_stored(&connection.uri, settings)?;
        let at = |uri: &Uri| {
            uri.fits(purpose)?;
            uri.allowed(purpose, settings)?;
            uri.within(&path)
        };
        let ways = kept.ways.iter().map(at).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { ways, connection: Some(name) })
    }

    /// What storing it needs, for the command.
    pub fn access(&self) -> Vec<UriAccess> {
        self.ways.iter().map(Uri::access).collect()
    }

    /// What using it needs: the connection, whose maker was asked for the rest, or else each way's own.
    pub fn requirement(&self) -> Requirement {
        let mut requirement = Requirement::default();
        match &self.connection {
            Some(_) => {
                let provider = self.ways.first().map_or("", Uri::scheme).to_owned();
                let connection = self.connection.clone();
                requirement.need(Need::Outside(UriAccess { provider, connection, ..UriAccess::default() }));
            }
            None => {
                for way in &self.ways {
                    requirement.need(Need::Outside(way.access()));
                }
            }
        }
        requirement
    }

    /// What is to be known of it although nothing is wrong.
    pub fn notices(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.ways.iter().any(ends_by_itself) {
            told.push(
                "AWS_SESSION_TOKEN in a URI cannot be refreshed: what uses this connection cannot outlive the token. \
                 AUTH=implicit with ASSUME_ROLE is refreshed by itself"
                    .to_owned(),
            );
        }
        told
    }
}

/// Whether it has credentials that end, and nothing from which there would be new ones.
fn ends_by_itself(uri: &Uri) -> bool {
    match uri {
        Uri::S3(S3 { auth, .. }) | Uri::AwsKms(AwsKms { auth, .. }) => {
            matches!(auth, AwsAuth::Keys(keys) if keys.session_token.is_some())
        }
        Uri::Gs(Gs { auth: GcpAuth::Token(_), .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
