//! What can happen to an object in the vault. Only an operator with every right can do it, or lifecycle.

use drawbridge_tests::{Dice, Rig};

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Every version is deleted.
    Dropped,
    /// As lifecycle does it first: a marker hides it.
    Expired,
    /// Half of it is there.
    Cut,
    /// One bit is another.
    Flipped,
    /// It holds another object's bytes.
    Replaced,
}

const ALL: [Damage; 5] = [Damage::Dropped, Damage::Expired, Damage::Cut, Damage::Flipped, Damage::Replaced];

/// Damages one object below `prefix`; answers which and how, or nothing when there is none.
pub(crate) async fn strike(rig: &Rig, prefix: &str, dice: &mut Dice) -> Option<(String, Damage)> {
    let keys = keys(rig, prefix).await;
    if keys.is_empty() {
        return None;
    }
    let (key, other) = (dice.choose(&keys).clone(), dice.choose(&keys).clone());
    let damage = *dice.choose(&ALL);
    let (s3, vault) = (&rig.clients().s3, &rig.stack().vault);
    match damage {
        Damage::Dropped => {
            let versions = s3.list_object_versions().bucket(vault).prefix(&key).send().await.unwrap();
            for version in versions.versions.unwrap_or_default() {
                let delete = s3.delete_object().bucket(vault).key(&key).set_version_id(version.version_id);
                delete.bypass_governance_retention(true).send().await.unwrap();
            }
        }
        Damage::Expired => {
            s3.delete_object().bucket(vault).key(&key).send().await.unwrap();
        }
        Damage::Cut => {
            let mut bytes = read(rig, &key).await;
            bytes.truncate(bytes.len() / 2);
            rig.overwrite(&key, bytes).await;
        }
        Damage::Flipped => {
            let mut bytes = read(rig, &key).await;
            let at = usize::try_from(dice.throw(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << dice.throw(8);
            rig.overwrite(&key, bytes).await;
        }
        // By its own bytes: then nothing is the matter, and that has to be seen too.
        Damage::Replaced => {
            let bytes = read(rig, &other).await;
            rig.overwrite(&key, bytes).await;
        }
    }
    Some((key, damage))
}

/// The keys that have a current version, sorted.
async fn keys(rig: &Rig, prefix: &str) -> Vec<String> {
    let (mut keys, mut next) = (Vec::new(), None);
    loop {
        let list = rig.clients().s3.list_objects_v2().bucket(&rig.stack().vault).prefix(prefix);
        let page = list.set_continuation_token(next).send().await.unwrap();
        keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key));
        next = page.next_continuation_token;
        if next.is_none() {
            keys.sort();
            return keys;
        }
    }
}

async fn read(rig: &Rig, key: &str) -> Vec<u8> {
    let object = rig.clients().s3.get_object().bucket(&rig.stack().vault).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().to_vec()
}
