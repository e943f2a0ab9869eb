//! Whose process this is: finding a user, and becoming one for good.

use std::io;

use nix::unistd::{Gid, Group, Uid, User, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
};

/// The id of a user, by name or number, and of the group that the system's user database (passwd(5))
/// gives it. A number need not be there; it has no group then.
///
/// # Errors
///
/// The database can't be read, or a name is not in it.
pub fn find_user(word: &str) -> io::Result<(u32, Option<u32>)> {
    let group = |user: User| user.gid.as_raw();
    if let Ok(id) = word.parse() {
        return Ok((id, User::from_uid(Uid::from_raw(id))?.map(group)));
    }
    let user = User::from_name(word)?.ok_or_else(|| nobody("user"))?;
    Ok((user.uid.as_raw(), Some(group(user))))
}

/// The id of a group, by name or number.
///
/// # Errors
///
/// The database (group(5)) can't be read, or a name is not in it.
pub fn find_group(word: &str) -> io::Result<u32> {
    match word.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(Group::from_name(word)?
            .ok_or_else(|| nobody("group"))?
            .gid
            .as_raw()),
    }
}

fn nobody(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no such {what}"))
}

/// Does the process run as this user and group already, in every respect?
pub fn is_user(user: u32, group: u32) -> bool {
    let users = getresuid().map(|ids| [ids.real, ids.effective, ids.saved].map(Uid::as_raw));
    let groups = getresgid().map(|ids| [ids.real, ids.effective, ids.saved].map(Gid::as_raw));
    users == Ok([user; 3]) && groups == Ok([group; 3])
}

/// Makes the whole process, all its threads, run as this user and group, without any other group, and
/// with no way back. The calling thread, and those it starts, keep the privilege to speak from
/// addresses that are not the machine's (CAP_NET_RAW), if that is asked for; all others are gone.
///
/// # Errors
///
/// It takes root's privileges to do that.
pub fn become_user(user: u32, group: u32, keeps_net_raw: bool) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    // The C library sees to it that each of these is done by every thread, where the kernel would do it
    // for the calling one only. The groups first: afterwards there is no privilege left for it.
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    // Keeps what is permitted; what is in effect is gone all the same.
    set_keep_capabilities(keeps_net_raw)?;
    setresuid(uid, uid, uid)?;
    if keeps_net_raw {
        let only = CapabilitySet::NET_RAW;
        set_capabilities(
            None,
            CapabilitySets {
                effective: only,
                permitted: only,
                inheritable: CapabilitySet::empty(),
            },
        )?;
    }
    // Seen rather than believed.
    let allowed = match keeps_net_raw {
        true => CapabilitySet::NET_RAW,
        false => CapabilitySet::empty(),
    };
    let left = capabilities(None)?;
    if !is_user(user, group) || (user != 0 && !allowed.contains(left.permitted | left.effective)) {
        return Err(io::Error::other("the system left privileges behind"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        assert_eq!(find_user("root").unwrap(), (0, Some(0)));
        assert_eq!(find_user("0").unwrap(), (0, Some(0)));
        assert_eq!(find_user("4123456").unwrap(), (4_123_456, None));
        assert_eq!(find_group("root").unwrap(), 0);
        assert_eq!(find_group("4123456").unwrap(), 4_123_456);
    }

    #[test]
    fn names_that_nobody_has_are_errors() {
        let errors = [
            find_user("no such user").unwrap_err(),
            find_group("no such group").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
