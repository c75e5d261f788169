{% extends "base.qml" %}
