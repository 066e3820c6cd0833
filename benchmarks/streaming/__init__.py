"""Streams of MQTT messages: three boxes that publish them, files that keep them, and their replay."""
