use aws_sdk_ssm::types::ParameterType;

use crate::{Aws, AwsError, Kind};

/// Encrypted parameters.
pub trait Parameters {
    /// Keeps a value, in place of any before.
    async fn put(&self, name: &str, value: &str) -> Result<(), AwsError>;

    /// The value, decrypted; `None` when there is no such parameter.
    async fn get(&self, name: &str) -> Result<Option<String>, AwsError>;

    /// The names of all parameters below a folder, at any depth. The values stay encrypted.
    async fn names(&self, folder: &str) -> Result<Vec<String>, AwsError>;

    /// Deletes a parameter; it is no error when there is none.
    async fn delete(&self, name: &str) -> Result<(), AwsError>;
}

const GET: &str = "ssm:GetParameter";
const LIST: &str = "ssm:GetParametersByPath";

impl Parameters for Aws {
    async fn put(&self, name: &str, value: &str) -> Result<(), AwsError> {
        let request = self.ssm.put_parameter().name(name).value(value).r#type(ParameterType::SecureString);
        let kept = request.overwrite(true).send().await;
        kept.map_err(|error| AwsError::sdk("ssm:PutParameter", error))?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<String>, AwsError> {
        match self.ssm.get_parameter().name(name).with_decryption(true).send().await {
            Ok(found) => match found.parameter.and_then(|parameter| parameter.value) {
                Some(value) => Ok(Some(value)),
                None => Err(AwsError::unexpected(GET, "the answer has no value")),
            },
            Err(error) => {
                let error = AwsError::sdk(GET, error);
                if error.kind() == Kind::NotFound { Ok(None) } else { Err(error) }
            }
        }
    }

    async fn names(&self, folder: &str) -> Result<Vec<String>, AwsError> {
        let path = folder.trim_end_matches('/');
        let request = self.ssm.get_parameters_by_path().path(path).recursive(true).with_decryption(false);
        let mut pages = request.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::sdk(LIST, error))?;
            names.extend(page.parameters.into_iter().flatten().filter_map(|parameter| parameter.name));
        }
        Ok(names)
    }

    async fn delete(&self, name: &str) -> Result<(), AwsError> {
        match self.ssm.delete_parameter().name(name).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::sdk("ssm:DeleteParameter", error);
                if error.kind() == Kind::NotFound { Ok(()) } else { Err(error) }
            }
        }
    }
}
