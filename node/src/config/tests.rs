use std::io::Write as _;

use super::*;

fn flags(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn message(error: ConfigError) -> String {
    Failure::from(error).to_string()
}

#[test]
fn nothing_written_gives_the_defaults_and_these_are_in_bounds() {
    let settings = Written::collect(None, [], []).unwrap().resolve().unwrap();
    assert_eq!(settings.data_dir, PathBuf::from("grantd-data"));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:26357");
    assert_eq!(settings.advertise, "127.0.0.1:26357");
    assert_eq!(settings.sql_advertise.as_deref(), Some("127.0.0.1:26257"));
    assert!(settings.join.is_empty());
    let tuning = Tuning::default();
    assert_eq!(settings.tuning.heartbeat_interval, tuning.heartbeat_interval);
    assert_eq!(settings.tuning.election_timeout_min, tuning.election_timeout_min);
    assert_eq!(settings.tuning.request_timeout, tuning.request_timeout);
    assert_eq!(settings.tuning.snapshot_entries, tuning.snapshot_entries);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let file = file("data_dir = 'file'\ncerts_dir = 'file'\nlog_filter = 'debug'\n");
    let environment = variables(&[("GRANTD_DATA_DIR", "env"), ("GRANTD_CERTS_DIR", "env")]);
    let written = Written::collect(Some(file.path()), environment, flags(&[("data_dir", "flag")])).unwrap();
    let settings = written.resolve().unwrap();
    assert_eq!(settings.data_dir, PathBuf::from("flag"));
    assert_eq!(settings.certs_dir, PathBuf::from("env"));
    assert_eq!(settings.log_filter, "debug");
}

#[test]
fn an_unknown_key_names_the_file_the_key_and_the_known_ones() {
    let file = file("data-dir = 'x'\n");
    let text = message(Written::collect(Some(file.path()), [], []).unwrap_err());
    assert!(
        text.starts_with(&format!("error: unknown key `data-dir` in `{}`", file.path().display())),
        "{text}"
    );
    assert!(text.contains("did you mean `data_dir`? The keys are: data_dir, certs_dir, listen,"), "{text}");
}

#[test]
fn a_value_out_of_bounds_names_its_key_value_origin_and_bounds() {
    let environment = variables(&[("GRANTD_SNAPSHOT_ENTRIES", "5")]);
    let error = Written::collect(None, environment, []).unwrap().resolve().unwrap_err();
    assert_eq!(
        message(error),
        "error: snapshot_entries = `5` (from the variable GRANTD_SNAPSHOT_ENTRIES): expected a whole number from \
         100 to 100000000"
    );
}

#[test]
fn an_election_timeout_of_two_heartbeats_is_refused() {
    let written = Written::collect(None, [], flags(&[("election_timeout_min_ms", "299")])).unwrap();
    let text = message(written.resolve().unwrap_err());
    assert!(
        text.contains("(from --election-timeout-min-ms): must be at least 3 heartbeats, here 300"),
        "{text}"
    );
}

#[test]
fn listening_everywhere_needs_an_address_to_advertise() {
    let all = flags(&[("listen", "0.0.0.0:26357")]);
    let text = message(Written::collect(None, [], all).unwrap().resolve().unwrap_err());
    assert!(text.contains("set `advertise` as well"), "{text}");
    let named = flags(&[("listen", "0.0.0.0:26357"), ("advertise", "db1.example:26357")]);
    assert_eq!(Written::collect(None, [], named).unwrap().resolve().unwrap().advertise, "db1.example:26357");
}

#[test]
fn join_takes_a_list_from_the_file_and_commas_and_repeats_from_flags() {
    let file = file("join = ['a:1', 'b:2']\n");
    let from_file = Written::collect(Some(file.path()), [], []).unwrap().resolve().unwrap();
    assert_eq!(from_file.join, ["a:1", "b:2"]);
    let repeated = flags(&[("join", "c:3, d:4"), ("join", "e:5")]);
    let from_flags = Written::collect(Some(file.path()), [], repeated).unwrap().resolve().unwrap();
    assert_eq!(from_flags.join, ["c:3", "d:4", "e:5"]);
    let bad = Written::collect(None, [], flags(&[("join", "nohost")])).unwrap().resolve().unwrap_err();
    assert!(message(bad).contains("`nohost` is not `host:port`"));
}

#[test]
fn a_file_that_is_missing_or_no_toml_says_so() {
    let missing = message(Written::collect(Some(Path::new("/nowhere/grantd.toml")), [], []).unwrap_err());
    assert!(missing.starts_with("error: cannot read the configuration file `/nowhere/grantd.toml`\ncause: "));
    let broken = file("data_dir = \n");
    let text = message(Written::collect(Some(broken.path()), [], []).unwrap_err());
    assert!(text.contains("is not valid TOML"), "{text}");
    let typed = file("data_dir = true\n");
    let text = message(Written::collect(Some(typed.path()), [], []).unwrap_err());
    assert!(text.contains("expected a string, a whole number or a list of strings"), "{text}");
}

#[test]
fn a_variable_that_sets_nothing_is_reported_and_does_not_stop_the_node() {
    let environment = variables(&[("GRANTD_SERVICE_HOST", "10.0.0.1"), ("PATH", "/bin")]);
    let written = Written::collect(None, environment, []).unwrap();
    assert_eq!(written.unknown_variables, ["GRANTD_SERVICE_HOST"]);
}

#[test]
fn what_a_node_is_in_a_cloud_is_looked_for_unless_it_is_said() {
    let told = |pairs: &[(&'static str, &str)]| Written::collect(None, [], flags(pairs)).unwrap().resolve();
    let default = told(&[]).unwrap().cloud;
    assert_eq!(default.aws_source, cloud::AwsNodeSource::Auto);
    assert_eq!(default.gcp_source, cloud::GcpNodeSource::Auto);
    assert_eq!(default.external_io_dir, Some(PathBuf::from("grantd-data/extern")));
    assert!(!default.http_disabled && !default.implicit_credentials_disabled && !default.outbound_disabled);
    assert_eq!(default.endpoint_listen, None);
    let said = told(&[
        ("aws_source", "web-identity"),
        ("gcp_source", "none"),
        ("external_io_dir", "disabled"),
        ("external_io_disable_http", "on"),
        ("aws_sts_endpoint", "http://127.0.0.1:1"),
        ("cloud_endpoint_listen", "127.0.0.1:1338"),
    ]);
    let said = said.unwrap().cloud;
    assert_eq!(said.aws_source, cloud::AwsNodeSource::WebIdentity);
    assert_eq!(said.gcp_source, cloud::GcpNodeSource::None);
    assert_eq!(said.external_io_dir, None);
    assert!(said.http_disabled);
    assert_eq!(said.aws_sts_endpoint.as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!(said.endpoint_listen, Some("127.0.0.1:1338".parse().unwrap()));
}

#[test]
fn credentials_are_given_out_on_loopback_only() {
    let open = flags(&[("cloud_endpoint_listen", "0.0.0.0:1338")]);
    let text = message(Written::collect(None, [], open).unwrap().resolve().unwrap_err());
    assert!(text.contains("credentials are given out on loopback only"), "{text}");
    for (name, value, problem) in [
        ("aws_source", "ec2", "expected one of auto, environment"),
        ("gcp_source", "imds", "expected one of auto, file, metadata or none"),
        ("external_io_disable_outbound", "yes", "expected `on` or `off`"),
        ("gcs_endpoint", "storage.example", "expected a URL"),
        ("gcp_metadata_host", "http://x/", "expected a host"),
    ] {
        let text =
            message(Written::collect(None, [], flags(&[(name, value)])).unwrap().resolve().unwrap_err());
        assert!(text.contains(problem), "{text}");
    }
}
