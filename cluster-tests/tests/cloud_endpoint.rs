//! Credentials for other programs of a node's host: real nodes, the strict doubles of AWS and Google, and boto3, the AWS CLI and
//! google-auth as they come from PyPI.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cloud_endpoint/aws.rs"]
mod aws;
#[path = "cloud_endpoint/google.rs"]
mod google;
#[path = "cloud_endpoint/hostile.rs"]
mod hostile;
#[path = "cloud_endpoint/program.rs"]
mod program;
#[path = "cloud_endpoint/stage.rs"]
mod stage;
