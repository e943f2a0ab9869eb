//! Ending a session from outside, in order: only where nothing is on its way, so that nothing is lost.

use super::Live;
use crate::net::abort;
use crate::policy::idle::Outstanding;

impl Live {
    /// Asks the kernel what it still has to deliver to the two peers, and whether it has bytes for us
    /// that the session's threads did not come to read yet: those are not silence either.
    pub fn outstanding(&self) -> Outstanding {
        let infos = self
            .peers()
            .filter_map(|peer| evener_sys::tcp_info(&peer.stream).ok());
        let (delivered, acknowledged) = infos.fold((true, 0), |(delivered, acknowledged), info| {
            (
                delivered && info.is_delivered(),
                acknowledged + info.acknowledged_bytes,
            )
        });
        let unread = self
            .peers()
            .any(|peer| rustix::io::ioctl_fionread(&peer.stream).is_ok_and(|bytes| bytes > 0));
        if delivered && !unread {
            Outstanding::Nothing
        } else {
            Outstanding::Acknowledged(acknowledged)
        }
    }

    /// Is nothing on its way at this moment?
    pub fn is_quiet(&self) -> bool {
        self.outstanding() == Outstanding::Nothing
    }

    /// Ends both connections in order.
    pub fn finish(&self) {
        for peer in self.peers() {
            peer.fin_sent.raise();
            abort::finish(&peer.stream);
        }
    }
}
