"""Validations of elec, one module a room: functions that return rows with a measured figure and its gate."""
