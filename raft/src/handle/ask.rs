//! Questions to members about themselves.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;

use crate::config::NodeId;
use crate::handle::Node;
use crate::transport::{Peer, RequestKind};
use crate::types::NodeInfo;

impl Node {
    pub(super) async fn ask(
        &self,
        node: NodeId,
        question: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, String> {
        if node != self.id {
            let info = self.member(node).ok_or_else(|| format!("node {node} is not a member"))?;
            return self.ask_member(node, info, question, timeout).await;
        }
        let handler = self.question_handler().ok_or_else(|| format!("node {node} is not ready"))?;
        let answer = tokio::time::timeout(timeout, handler.handle(node, question)).await;
        answer.map_err(|_| format!("node {node} did not answer within {timeout:?}"))
    }

    pub(super) async fn ask_others(
        &self,
        question: Bytes,
        timeout: Duration,
    ) -> Vec<(NodeId, Result<Bytes, String>)> {
        let membership = std::sync::Arc::clone(&self.raft.metrics().borrow_watched().membership_config);
        let others = membership.membership().nodes().filter(|(id, _)| **id != self.id);
        let asked = others.map(|(id, info)| {
            let (id, question) = (*id, question.clone());
            async move { (id, self.ask_member(id, info.clone(), question, timeout).await) }
        });
        join_all(asked).await
    }

    async fn ask_member(
        &self,
        node: NodeId,
        info: NodeInfo,
        question: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, String> {
        let asked = self.transport.call(&Peer::Member(node, info), RequestKind::Ask, question, timeout);
        // The transport keeps to the time itself; this is for the day on which it does not.
        match tokio::time::timeout(timeout, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("node {node} did not answer within {timeout:?}")),
        }
    }
}
