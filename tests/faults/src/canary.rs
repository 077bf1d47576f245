//! Secrets are looked for in everything that a run writes, and at the end in everything that the stack wrote.

use drawbridge_tests::Rig;
use walkdir::WalkDir;

use crate::run::Ran;
use crate::site::Site;

/// Where a secret belongs: the agent's own files, and what tells the operator how to log in.
const ITS_PLACE: [&str; 6] =
    ["agent/password", "agent/aws-credentials", "stack.json", "deployment.json", "agent/state", "packages/"];

fn holds(text: &str, secrets: &[(String, String)], place: &str) -> Vec<String> {
    let found = secrets.iter().filter(|(_, secret)| text.contains(secret.as_str()));
    found.map(|(what, _)| format!("{what} in {place}")).collect()
}

/// What the agent said, what the run's status says, what it left in the vault, and the user data that anyone may read.
pub(crate) async fn in_run(site: &Site, ran: &Ran) -> Vec<String> {
    let (rig, secrets) = (site.rig(), site.secrets());
    let mut found = holds(&(ran.agent.stdout.clone() + &ran.agent.stderr), secrets, "what the agent says");
    for (execution, _) in &ran.executions {
        let status = format!("{:?} {:?} {:?}", execution.output, execution.error, execution.cause);
        found.extend(holds(&status, secrets, "the run's status"));
        for (key, _) in rig.versions(&format!("runs/{}/", execution.name)).await {
            found.extend(holds(&object(rig, &key).await, secrets, &key));
        }
        let boxes = site.watch().of_run(&execution.name);
        assert_eq!(boxes.user_data.len(), boxes.ids.len(), "of each box the user data was read: {boxes:?}");
        for data in &boxes.user_data {
            found.extend(holds(data, secrets, "user data"));
        }
    }
    found
}

async fn object(rig: &Rig, key: &str) -> String {
    let object = rig.clients().s3.get_object().bucket(&rig.stack().vault).key(key).send().await.unwrap();
    String::from_utf8_lossy(&object.body.collect().await.unwrap().into_bytes()).into_owned()
}

impl Site {
    /// The functions' logs, the boxes' consoles and the emulator's own logs, of all the runs that there were.
    pub fn secrets_in_logs(&self) -> Vec<String> {
        let mut found = holds(&self.rig().function_logs(), self.secrets(), "the functions' logs");
        let folder = self.rig().folder().join("stack");
        for entry in
            WalkDir::new(&folder).into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file())
        {
            let name = entry.path().strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            if !ITS_PLACE.iter().any(|place| name.starts_with(place)) {
                let contents = std::fs::read(entry.path()).unwrap_or_default();
                found.extend(holds(&String::from_utf8_lossy(&contents), self.secrets(), &name));
            }
        }
        found
    }
}
