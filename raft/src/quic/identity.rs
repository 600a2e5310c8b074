//! Who a node certificate is of.
//!
//! A node's number is in its certificate as the DNS name `node-<id>.grantd.internal`. The name says nothing about
//! where the node is: that is in its other names, which clients check. A certificate without such a name is not a
//! node's, whatever else it says.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::NodeId;

const PREFIX: &str = "node-";
const SUFFIX: &str = ".grantd.internal";

/// The DNS name in the certificate of node `id`.
pub fn dns_name(id: NodeId) -> String {
    format!("{PREFIX}{id}{SUFFIX}")
}

/// The node whose certificate has the DNS name `name`; none for any other name, and for a number that is not written
/// as [`dns_name`] writes it (a sign, a leading zero, more than 64 bits).
pub fn parse_dns_name(name: &str) -> Option<NodeId> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let id = digits.parse::<NodeId>().ok()?;
    (dns_name(id) == name).then_some(id)
}

/// The node that `certificate` is of.
///
/// Says nothing about who signed it: that is verified in the TLS handshake, before this is asked.
pub fn node_id_of(certificate: &CertificateDer<'_>) -> Result<NodeId, IdentityError> {
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| IdentityError::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let mut found = None;
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        let GeneralName::DNSName(name) = name else { continue };
        if let Some(id) = parse_dns_name(name)
            && found.replace(id).is_some_and(|other| other != id)
        {
            return Err(IdentityError::TwoNodes);
        }
    }
    found.ok_or(IdentityError::NotANode)
}

/// Why a certificate names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not an X.509 certificate, or its names cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// It has no name of the form `node-<id>.grantd.internal`; a client's certificate, say.
    #[error("the certificate is not of a node: it has no name `node-<id>.grantd.internal`")]
    NotANode,
    /// It has two such names.
    #[error("the certificate names two nodes")]
    TwoNodes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_only_as_it_is_written() {
        assert_eq!(parse_dns_name(&dns_name(7)), Some(7));
        assert_eq!(parse_dns_name(&dns_name(u64::MAX)), Some(u64::MAX));
        for name in [
            "node-07.grantd.internal",
            "node-+7.grantd.internal",
            "node-.grantd.internal",
            "node-18446744073709551616.grantd.internal",
            "node-7.grantd.internal.example.org",
            "x.node-7.grantd.internal",
        ] {
            assert_eq!(parse_dns_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_certificate_without_a_node_name_is_no_node() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let make = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let params = rcgen::CertificateParams::new(names).expect("names");
            params.self_signed(&key).expect("a certificate").der().clone()
        };
        assert_eq!(node_id_of(&make(&["localhost", "node-3.grantd.internal"])), Ok(3));
        assert_eq!(node_id_of(&make(&["localhost"])), Err(IdentityError::NotANode));
        assert_eq!(node_id_of(&make(&[])), Err(IdentityError::NotANode));
        let two = make(&["node-3.grantd.internal", "node-4.grantd.internal"]);
        assert_eq!(node_id_of(&two), Err(IdentityError::TwoNodes));
        assert_eq!(node_id_of(&CertificateDer::from(vec![1, 2, 3])), Err(IdentityError::Unreadable));
    }
}
