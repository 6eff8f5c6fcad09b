"""The row of an activity that is over becomes that of the next, of which nothing old is left in it."""

import re

from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.statements import read_statements


def test_every_column_is_set_anew(server, url):
    PostgresStorage(url).close()
    schema = url.rpartition("=")[2]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = 'tasks'"
    with server.connect() as connection:
        there = {name for (name,) in connection.execute(columns, [schema])}
    change = re.search(r"UPDATE .*? SET(.*?)FROM j", read_statements(schema)["move_tasks"], re.DOTALL)[1]
    assert set(re.findall(r"(\w+) =", change)) == there - {"incarnation"}
