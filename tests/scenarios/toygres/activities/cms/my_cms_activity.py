"""An activity of a domain of its own."""

from perdure import activity
from tests.scenarios.toygres import names

records: list[str] = []


@activity(name=names.MY_CMS_ACTIVITY)
def my_cms_activity(record: str) -> None:
    records.append(record)
