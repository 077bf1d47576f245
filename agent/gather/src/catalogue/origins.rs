use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use super::{Catalogue, CatalogueError};
use crate::site::Site;
use crate::tree::Meta;

/// What the sources of a site said of what the mirror holds. A catalogue is opened when its source is first asked about.
pub struct Origins {
    site: Site,
    open: HashMap<OsString, Option<Catalogue>>,
}

impl Origins {
    /// Of `site` as it is now: whoever gathers in the meantime isn't noticed.
    #[must_use]
    pub fn new(site: &Site) -> Self {
        Self { site: site.clone(), open: HashMap::new() }
    }

    /// What the source said of the entry at `path` of the mirror, `<source>/<path in the source>`; `None` where no catalogue
    /// knows it.
    ///
    /// # Errors
    /// When the source's catalogue can't be read, or is damaged.
    pub fn of(&mut self, path: &Path) -> Result<Option<Meta>, CatalogueError> {
        let mut parts = path.components();
        let Some(Component::Normal(source)) = parts.next() else { return Ok(None) };
        let Some(catalogue) = self.catalogue(source)? else { return Ok(None) };
        let inside = Path::new("/").join(parts.as_path());
        if inside.parent().is_none() {
            return Ok(Some(catalogue.root().clone()));
        }
        Ok(catalogue.entry(&inside)?.map(|entry| entry.meta))
    }

    fn catalogue(&mut self, source: &OsStr) -> Result<Option<&mut Catalogue>, CatalogueError> {
        if !self.open.contains_key(source) {
            let found = source.to_str().map(|name| self.site.catalogue(name)).transpose()?.flatten();
            self.open.insert(source.to_owned(), found);
        }
        Ok(self.open.get_mut(source).and_then(Option::as_mut))
    }
}
