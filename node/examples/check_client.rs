//! Asks a running node over its check socket, and then tells what changes:
//!
//! ```sh
//! cargo run --example check_client -- grantd-data/check.sock root ann SELECT shop.public.orders
//! ```

use std::env;
use std::error::Error;

use grantd_node::check::Check;
use grantd_node::check::client::{Client, Event, Freshness, ObjectKind, Privilege, Question, ResourceKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [socket, role, subject, action, table] = &arguments[..] else {
        return Err("usage: check_client SOCKET ROLE SUBJECT PRIVILEGE DATABASE.SCHEMA.TABLE".into());
    };
    let mut client = Client::connect(socket, role).await?;
    println!("node {} of release {}", client.server().node, client.server().release);

    // In names, with the reason.
    let kind = ResourceKind::Object(ObjectKind::Table);
    let question = Question { subject: subject.clone(), action: action.clone(), kind, name: table.clone() };
    let explained = client.explain(Freshness::Local, question).await?;
    let (allowed, reason) = explained.answer;
    println!("version {}: {} ({reason})", explained.version, if allowed { "yes" } else { "no" });

    // By id, as a service does that asks often: it resolves once.
    let principal = client.principal(subject).await?.ok_or("there is no such role")?;
    let object = client.object(ObjectKind::Table, table).await?.ok_or("there is no such table")?;
    let privilege = Privilege::from_word(action).ok_or("there is no such privilege")?;
    let checks = [
        Check::Holds { subject: principal, privilege, object },
        Check::HoldsGrantOption { subject: principal, privilege, object },
    ];
    let mut answers = Vec::new();
    let version = client.check_batch(Freshness::Local, &checks, &mut answers).await?;
    println!("version {version}: holds it: {}, may grant it: {}", answers[0], answers[1]);

    // What was answered may be kept as long as this tells nothing of it.
    let mut watch = client.watch(Some(version)).await?;
    loop {
        match watch.next().await? {
            Event::Changes { version, tightens, records } => {
                println!(
                    "version {version}: {records:?}{}",
                    if tightens { ", somebody may do less" } else { "" }
                );
            }
            Event::Progress(_) => {}
            Event::Resync(version) => println!("version {version}: read everything anew"),
        }
    }
}
