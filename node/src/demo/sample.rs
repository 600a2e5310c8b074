//! The sample database: a shop with orders and customers, two roles and two users.

use super::cluster::Cluster;
use super::{SAMPLE_DATABASE, SAMPLE_PASSWORD};
use crate::failure::Failure;
use crate::shell::connection::{Connection, StatementError};

/// What root does to make it, in order. Read it as the shortest introduction there is.
pub(super) fn statements() -> Vec<String> {
    [
        "CREATE ROLE support",
        "CREATE ROLE sales",
        &format!("CREATE USER mia WITH PASSWORD '{SAMPLE_PASSWORD}'"),
        &format!("CREATE USER ben WITH PASSWORD '{SAMPLE_PASSWORD}'"),
        "GRANT support TO mia",
        "GRANT sales TO ben",
        &format!("CREATE DATABASE {SAMPLE_DATABASE}"),
        "CREATE TABLE shop.customers (id INT PRIMARY KEY, name TEXT NOT NULL, card TEXT)",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY, customer INT NOT NULL, item TEXT NOT NULL, open BOOL NOT NULL)",
        "INSERT INTO shop.customers VALUES (1, 'Ada', '4000-0001'), (2, 'Grace', '4000-0002')",
        "INSERT INTO shop.orders VALUES (1, 1, 'lamp', true), (2, 1, 'desk', false), (3, 2, 'chair', true)",
        "GRANT SELECT, INSERT, UPDATE ON TABLE shop.orders TO sales",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Makes it, through node 1.
pub(super) async fn load(cluster: &Cluster) -> Result<(), Failure> {
    let mut connection = Connection::open(cluster.target(1, "root")).await?;
    for statement in statements() {
        connection.run(&statement, false).await.map_err(|error| {
            let mut failure = Failure::new("cannot make the sample database");
            failure.causes.push(match error {
                StatementError::Refused(text) => text,
                StatementError::Lost(lost) => lost.to_string(),
            });
            failure
        })?;
    }
    Ok(())
}
