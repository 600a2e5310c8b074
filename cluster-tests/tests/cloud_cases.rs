//! The acceptance list of cloud identities: each case of the specification by its number (cloud-jobs, H.1 to H.7), with the test
//! that shows it, or the reason why none does.

use std::collections::BTreeMap;
use std::path::Path;

use How::{By, Not, Script};

/// How a case is shown.
#[derive(Clone, Copy, Debug)]
enum How {
    /// By this test, in this file.
    By(&'static str, &'static str),
    /// By a script of the catalog: [`SCRIPT`] has a case of this number.
    Script,
    /// By none, for this reason.
    Not(&'static str),
}

/// Every number that the specification has, by section.
const NUMBERS: [(&str, &[u16]); 7] = [
    (
        "H.1",
        &[
            1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35, 37, 38,
            40,
        ],
    ),
    ("H.2", &[41, 43, 44, 46, 47, 49, 50, 52, 53, 55, 56, 58, 59]),
    (
        "H.3",
        &[
            61, 62, 64, 65, 67, 68, 70, 71, 73, 74, 76, 77, 79, 80, 82, 83, 85, 86, 88, 89, 91, 92, 94, 95,
            97, 98, 100,
        ],
    ),
    ("H.4", &[101, 103, 104, 106, 107, 109, 110]),
    ("H.5", &[112, 113, 115, 116, 118, 119, 121, 122, 124, 125, 127, 128, 130, 131]),
    ("H.6", &[133, 134, 136, 137, 139, 140, 142, 143, 145, 146, 148, 149]),
    ("H.7", &[151, 152, 154, 155, 157, 158, 160, 161]),
];

const URI: &str = "node/src/cloud/uri/tests/cases.rs";
const CONNECTION: &str = "node/src/cloud/connection/tests.rs";
const BROKER: &str = "node/src/cloud/broker/tests.rs";
const REFRESHER: &str = "node/src/cloud/refresher/tests.rs";
const AWS: &str = "cluster-tests/tests/cloud_aws.rs";
const STATEMENTS: &str = "cluster-tests/tests/cloud_statements.rs";
/// Who may use which URI, decided twice.
const SCRIPT: &str = "catalog/tests/scripts/outside.txt";
const JOB_RECORDS: &str = "catalog/tests/jobs.rs";
const FEEDS: &str = "cluster-tests/tests/changefeeds.rs";
const JOB_STATEMENTS: &str = "node/tests/jobs.rs";
const BACKUPS: &str = "cluster-tests/tests/backup_jobs.rs";
const MADE: &str = "backups_are_made_and_shown_by_statements";
const RESTORES: &str = "cluster-tests/tests/restores.rs";
const SCHEDULES: &str = "cluster-tests/tests/schedules.rs";

const CASES: &[(u16, How)] = &[
    (1, By(URI, "a_bucket_has_a_name")),
    (2, By(URI, "without_auth_keys_are_expected")),
    (4, By(URI, "auth_is_one_of_two_in_any_case_of_letters")),
    (5, By(URI, "parameters_that_are_not_known_are_all_listed")),
    (7, By(URI, "an_empty_chain_is_no_role")),
    (8, By(URI, "a_raw_arn_and_an_encoded_one_are_the_same")),
    (10, By(URI, "roles_are_assumed_in_the_order_of_the_text")),
    (11, By(URI, "each_role_has_its_own_external_id")),
    (13, By(URI, "a_comma_may_be_a_part_of_a_name")),
    (14, By(URI, "a_role_that_is_none_is_named_by_its_place")),
    (16, By(URI, "a_raw_semicolon_is_never_dropped")),
    (
        17,
        By(
            "cluster-tests/tests/cloud_google/sources.rs",
            "a_chain_is_one_call_on_its_last_account_with_the_others_as_delegates",
        ),
    ),
    (19, By(URI, "credentials_are_base64_of_a_key")),
    (20, By(URI, "azure_has_no_roles")),
    (22, By(URI, "encryption_is_of_two_kinds")),
    (23, By(URI, "a_key_of_aws_has_a_region")),
    (25, By(URI, "an_external_connection_has_a_name")),
    (26, By(CONNECTION, "a_connection_that_is_missing_is_told_by_its_name")),
    (28, By(CONNECTION, "a_connection_to_a_key_is_no_storage")),
    (29, By(URI, "backups_do_not_go_to_http")),
    (31, By(URI, "pubsub_has_a_region_or_no_order")),
    (32, By(URI, "pubsub_has_no_topic_prefix")),
    (34, By(URI, "a_login_to_kafka_has_to_be_enabled")),
    (35, By(URI, "webhooks_are_https")),
    (37, By(URI, "a_node_may_forbid_what_is_outside")),
    (38, By(URI, "other_schemes_are_not_supported")),
    (40, By(URI, "a_locality_is_not_a_leftover")),
    (41, Script),
    (43, Script),
    (44, Script),
    (46, Script),
    (47, Script),
    (49, By(BACKUPS, "who_may_is_asked_at_each_step")),
    (50, By(BACKUPS, "who_may_is_asked_at_each_step")),
    (52, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (53, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (55, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (56, By(BACKUPS, "who_may_is_asked_at_each_step")),
    (58, By(JOB_STATEMENTS, "everybody_sees_the_jobs_that_it_controls")),
    (59, By(JOB_STATEMENTS, "everybody_sees_the_jobs_that_it_controls")),
    (61, By(AWS, "a_web_identity_is_exchanged_and_then_assumes")),
    (62, By(AWS, "each_hop_of_a_chain_is_assumed_by_the_one_before")),
    (64, By(FEEDS, "a_feed_whose_node_is_killed_three_times_has_exactly_the_history")),
    (65, By(AWS, "a_token_that_was_renewed_is_what_the_next_fetch_shows")),
    (67, By(BROKER, "while_the_cloud_is_down_requests_wait_and_then_go_on")),
    (68, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (70, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (71, By(REFRESHER, "who_was_never_allowed_is_told_at_once")),
    (73, By(BROKER, "chains_that_begin_alike_share_what_they_begin_with")),
    (74, By(BROKER, "who_gives_up_waiting_ends_no_call_and_many_who_wait_make_one")),
    (76, By(BROKER, "a_refused_lease_is_replaced_once_and_access_denied_makes_no_burst")),
    (77, By(BROKER, "a_refused_lease_is_replaced_once_and_access_denied_makes_no_burst")),
    (79, By(AWS, "a_session_that_is_said_to_live_longer_than_it_can_lives_its_hour")),
    (80, By(AWS, "a_duration_that_aws_refuses_is_told_with_what_to_change")),
    (
        82,
        By(BROKER, "after_a_sleep_of_two_hours_no_old_lease_is_used_and_a_new_one_is_there_within_a_second"),
    ),
    (83, By(BROKER, "a_cloud_that_is_asked_too_much_is_asked_slowly_by_all_together")),
    (
        85,
        By(
            "cluster-tests/tests/cloud_google/failures.rs",
            "the_first_pair_of_a_chain_that_is_not_allowed_is_named",
        ),
    ),
    (
        86,
        By(
            "cluster-tests/tests/cloud_google/stream.rs",
            "a_token_that_stays_the_same_is_not_asked_for_in_a_loop",
        ),
    ),
    (
        88,
        By("cluster-tests/tests/cloud_google/failures.rs", "what_was_denied_works_as_soon_as_it_is_granted"),
    ),
    (89, By(AWS, "a_container_s_token_is_read_for_each_call_and_its_line_end_is_no_part_of_it")),
    (
        91,
        By(
            "node/src/cloud/aws/process.rs",
            "a_program_that_fails_is_told_by_its_standard_error_and_not_by_what_it_prints",
        ),
    ),
    (92, By("node/src/cloud/route/tests.rs", "hops_in_front_are_shared_and_the_last_says_who_and_what_for")),
    (
        94,
        By(
            "cluster-tests/tests/handover/identity.rs",
            "jobs_of_a_node_that_is_killed_go_to_one_with_an_identity",
        ),
    ),
    (
        95,
        Not(
            "AWS_MSK_IAM and OAUTHBEARER are refused by name (docs/changefeeds.md): rskafka 0.6 asks for a token at each connection, but nothing here is a broker that checks one",
        ),
    ),
    (97, By(CONNECTION, "a_token_that_ends_is_told_of")),
    (98, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (100, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (101, By(URI, "what_is_shown_is_sorted_and_has_no_secret")),
    (103, By(URI, "what_is_shown_is_sorted_and_has_no_secret")),
    (104, By("cluster-tests/tests/changefeeds/secrets.rs", "no_secret_of_a_feed_comes_out")),
    (106, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (107, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (109, By("cluster-tests/tests/backup/secrets.rs", "a_backup_of_a_cluster_has_no_secret_in_clear")),
    (110, By(STATEMENTS, "a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name")),
    (112, By(BACKUPS, MADE)),
    (113, By(BACKUPS, MADE)),
    (115, By(BACKUPS, MADE)),
    (116, By(BACKUPS, MADE)),
    (118, By(BACKUPS, MADE)),
    (119, By(BACKUPS, MADE)),
    (121, By(BACKUPS, "a_paused_backup_goes_on_and_a_cancelled_one_is_none")),
    (122, By(RESTORES, "any_instant_of_a_chain_comes_back")),
    (124, By(RESTORES, "databases_and_tables_come_back_to_who_restores_them")),
    (125, By(RESTORES, "a_cluster_comes_back_as_it_was_where_there_is_nothing")),
    (127, By(BACKUPS, MADE)),
    (128, By(RESTORES, "databases_and_tables_come_back_to_who_restores_them")),
    (130, By(SCHEDULES, "an_hourly_schedule_has_a_daily_full_one_and_waits_for_it")),
    (131, By(SCHEDULES, "two_schedules_do_not_share_a_collection")),
    (133, By(FEEDS, "a_feed_whose_node_is_killed_three_times_has_exactly_the_history")),
    (134, By("node/src/feed/sink/files/tests.rs", "files_are_called_as_in_the_original")),
    (136, By("node/src/feed/encode/tests.rs", "a_wrapped_message_has_its_members_in_order")),
    (137, By("node/src/feed/plan/tests.rs", "of_one_transaction_the_last_counts")),
    (139, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (140, By("node/src/feed/options/tests.rs", "a_cursor_means_no_scan_unless_one_is_asked_for")),
    (142, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (143, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (145, By(FEEDS, "a_feed_whose_node_is_killed_three_times_has_exactly_the_history")),
    (146, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (148, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (149, By(FEEDS, "statements_about_changefeeds_are_answered_as_by_the_original")),
    (151, By(JOB_RECORDS, "requests_that_a_status_does_not_allow_are_refused_in_the_originals_words")),
    (152, By(JOB_RECORDS, "a_pause_stops_at_once_what_nobody_works_on_and_else_when_its_node_says_so")),
    (154, By(JOB_RECORDS, "what_is_cancelled_is_taken_back_and_then_canceled")),
    (155, By("cluster-tests/tests/jobs.rs", "the_clusters_own_job_goes_on_whoever_is_there")),
    (157, By(JOB_STATEMENTS, "what_ended_long_ago_is_listed_only_by_number")),
    (158, By(JOB_RECORDS, "a_report_of_a_lost_claim_changes_nothing")),
    (160, By(JOB_STATEMENTS, "show_jobs_when_complete_returns_when_all_have_ended")),
    (161, By(BACKUPS, "a_backup_outlives_its_client_and_its_node")),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn each_case_is_shown_or_says_why_not() {
    let mut listed = BTreeMap::new();
    for (number, how) in CASES {
        assert!(listed.insert(*number, how).is_none(), "case {number} is listed twice");
    }
    for (section, numbers) in NUMBERS {
        for number in numbers {
            assert!(
                listed.remove(number).is_some(),
                "case {number} of {section} has neither a test nor a reason"
            );
        }
    }
    assert!(listed.is_empty(), "the specification has no such cases: {listed:?}");
}

#[test]
fn each_test_of_the_list_is_there_and_names_its_case() {
    for (number, how) in CASES {
        let (file, test) = match how {
            By(file, test) => (file, test),
            Script => {
                let text = std::fs::read_to_string(root().join(SCRIPT)).expect("the script");
                let heads = text.lines().filter_map(|line| line.strip_prefix("case H.2/")?.split(':').next());
                let mut numbers = heads.flat_map(|head| head.split(", "));
                assert!(numbers.any(|word| word == number.to_string()), "{SCRIPT} has no case {number}");
                continue;
            }
            Not(reason) => {
                assert!(reason.len() > 20, "case {number}: a reason says something");
                continue;
            }
        };
        let text =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let head = format!("fn {test}(");
        let at = text.find(&head).unwrap_or_else(|| panic!("case {number}: {file} has no test `{test}`"));
        let before = &text[..at];
        let attribute = before.rfind("#[").unwrap_or_default();
        assert!(before[attribute..].contains("test"), "case {number}: `{test}` of {file} is no test");
        let documentation = before.rfind("\n\n").map_or(before, |blank| &before[blank..]);
        let names = documentation.split(|c: char| !c.is_ascii_digit()).any(|word| word == number.to_string());
        assert!(
            names || test.contains(&format!("_{number}_")),
            "`{test}` of {file} does not name case {number}"
        );
    }
}
