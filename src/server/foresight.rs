//! What a config needs of the machine and does not find there, for `evener check`: warnings and no errors,
//! because a config may be checked on another machine than its own.

use std::path::Path;

use crate::admin::Token;
use crate::config::Config;
use crate::privileges;

/// What would be in the way of a start on this machine, a sentence each. Addresses are not tried: an evener
/// that runs has them.
pub fn obstacles(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(file) = (config.admin.as_ref()).and_then(|admin| admin.token_file.as_deref())
        && let Err(error) = Token::read(file)
    {
        found.push(format!("admin.token_file {}: {error}", file.display()));
    }
    if let Err(error) = privileges::find_user(config) {
        found.push(error.to_string());
    }
    let directories = config.unix_sockets();
    let mut directories: Vec<&Path> = directories.into_iter().filter_map(Path::parent).collect();
    directories.sort_unstable();
    directories.dedup();
    let missing = directories
        .into_iter()
        .filter(|directory| !directory.is_dir());
    found.extend(missing.map(|directory| {
        format!(
            "there is no directory {} for a unix socket",
            directory.display()
        )
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_told_and_nothing_else() {
        let obstacles = |more: &str| {
            let rest = "listeners: [{ bind: '127.0.0.1:0' }]\npools: [{ backends: [a:1] }]";
            obstacles(&Config::from_yaml("test", &format!("{rest}\n{more}")).unwrap())
        };
        assert_eq!(obstacles("user: root"), [""; 0]);
        assert_eq!(
            obstacles("admin: { bind: 'unix:/tmp/admin.sock' }"),
            [""; 0]
        );
        let all = obstacles(
            "user: nobody-of-that-name\nadmin: { bind: 'unix:/nowhere/a.sock', token_file: /nowhere/token }",
        );
        assert_eq!(
            all,
            [
                "admin.token_file /nowhere/token: No such file or directory (os error 2)",
                "user nobody-of-that-name: there is no such user; look at /etc/passwd and /etc/group, or write a number",
                "there is no directory /nowhere for a unix socket",
            ]
        );
    }
}
