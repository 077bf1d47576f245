"""How the template is read."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from drawbridge_emulator import template  # noqa: E402

TEMPLATE = """
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Count: { Type: Number, Default: 0 }
  Name: { Type: String }
Mappings:
  Days: { month: { "7": 40 } }
Conditions:
  Some: !Not [!Equals [!Ref Count, 0]]
  Named: !And [!Condition Some, !Equals [!Ref Name, x]]
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: ../target/ship/f.zip
      Role: !GetAtt R.Arn
      Days: !FindInMap [Days, !Ref Name, !Ref Count]
      Reserved: !If [Some, !Ref Count, !Ref "AWS::NoValue"]
"""


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        folder.joinpath("f.zip").touch()
        folder.joinpath("t.yaml").write_text(TEMPLATE)
        self.folder = folder
        self.template = template.load(folder / "t.yaml")
        self.properties = self.template["Resources"]["F"]["Properties"]

    def test_short_forms_are_long_forms_and_versions_are_text(self) -> None:
        self.assertEqual(self.properties["Role"], {"Fn::GetAtt": ["R", "Arn"]})
        self.assertEqual(self.template["AWSTemplateFormatVersion"], "2010-09-09")

    def test_code_comes_from_the_packages(self) -> None:
        files = template.local_files(self.template, self.folder, self.folder)
        self.assertEqual(files, {"../target/ship/f.zip": self.folder / "f.zip"})
        packaged = template.packaged(self.template, {"../target/ship/f.zip": ("bucket", "key")})
        self.assertEqual(packaged["Resources"]["F"]["Properties"]["CodeUri"], {"Bucket": "bucket", "Key": "key"})
        with self.assertRaises(FileNotFoundError):
            template.local_files(self.template, self.folder, self.folder / "elsewhere")

    def test_parameters_are_all_known_and_all_given(self) -> None:
        self.assertEqual(template.parameters(self.template, {"Name": "x"}), {"Count": 0, "Name": "x"})
        for given in ({}, {"Name": "x", "Nmae": "y"}):
            with self.assertRaises(ValueError):
                template.parameters(self.template, given)

    def test_conditions_decide(self) -> None:
        reserved = self.properties["Reserved"]
        self.assertIsNone(self.values(Count="0", Name="x").of(reserved))
        self.assertEqual(self.values(Count="2", Name="x").of(reserved), "2")
        self.assertTrue(self.values(Count="2", Name="x").holds({"Condition": "Named"}))
        self.assertFalse(self.values(Count="2", Name="y").holds({"Condition": "Named"}))

    def test_tables_are_looked_up(self) -> None:
        days = self.properties["Days"]
        self.assertEqual(self.values(Name="month", Count="7").of(days), 40)
        self.assertEqual(self.values(Name="month", Count=7).of(days), 40)
        with self.assertRaisesRegex(ValueError, "Days has no cell year, 7"):
            self.values(Name="year", Count="7").of(days)

    def test_what_is_not_understood_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            self.values().of({"Fn::Sub": "${Name}"})

    def values(self, **values: Any) -> template.Values:
        return template.Values(self.template, values)


if __name__ == "__main__":
    unittest.main()
