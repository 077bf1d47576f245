use std::collections::BTreeMap;

use drawbridge_local::Credentials;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Rig;

/// A principal's key; a role's has a token.
#[derive(Debug)]
pub struct Key {
    pub(crate) credentials: Credentials,
    pub(crate) session_token: Option<String>,
}

/// One call that was tried with it.
#[derive(Debug, Deserialize)]
pub struct Tried {
    /// The operation, or what was put.
    pub call: String,
    /// AWS's error code; `None` if it succeeded.
    pub code: Option<String>,
    /// Whether the answer held bytes of an object.
    pub leaked: bool,
}

/// All that there is to know of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WholeVault {
    /// The account's buckets.
    pub buckets: Value,
    /// What every reading operation says of the bucket, by the operation.
    pub settings: BTreeMap<String, Value>,
    /// What every reading operation says of a version, its bytes' hash too, by key and version.
    pub versions: BTreeMap<String, Value>,
    /// Delete markers.
    pub markers: Vec<Value>,
}

impl Rig {
    /// The agent's key.
    pub fn agents_key(&self) -> Key {
        let credentials = &self.stack().agent.credentials;
        let credentials = Credentials {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
        };
        Key { credentials, session_token: None }
    }

    /// A key that one of the stack's roles may use. The operator lets itself in for that; on AWS it could too.
    pub fn roles_key(&self, role: &str) -> Key {
        let answer: Value = serde_json::from_str(&self.operators_script("assume_role.py", role)).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let credentials =
            Credentials { access_key_id: text("AccessKeyId"), secret_access_key: text("SecretAccessKey") };
        Key { credentials, session_token: Some(text("SessionToken")) }
    }

    /// Tries every action of S3 with a key: on these versions, on an upload in parts that is under way, and on keys that begin with
    /// `fresh`.
    pub fn try_every_s3_action(
        &self,
        key: &Key,
        versions: &[(String, String)],
        upload: &(String, String),
        fresh: &str,
    ) -> Vec<Tried> {
        let operator = &self.stack().admin;
        let options = json!({
            "session_token": key.session_token, "bucket": self.stack().vault, "versions": versions, "upload": upload,
            "fresh": fresh, "operator": [operator.access_key_id, operator.secret_access_key],
        });
        let said = self.script_as(&key.credentials, "every_s3_action.py", &options.to_string());
        serde_json::from_str(&said).unwrap()
    }

    /// The vault as it is now.
    pub fn whole_vault(&self) -> WholeVault {
        serde_json::from_str(&self.operators_script("whole_vault.py", &self.stack().vault)).unwrap()
    }

    /// Begins an upload in parts of an object that isn't there, as an operator, and answers its key and its id.
    pub fn begin_an_upload(&self, key: &str) -> (String, String) {
        let object = json!({"Bucket": self.stack().vault, "Key": key});
        let upload = self.call("s3", "create_multipart_upload", object);
        (key.to_owned(), upload["UploadId"].as_str().unwrap().to_owned())
    }
}
