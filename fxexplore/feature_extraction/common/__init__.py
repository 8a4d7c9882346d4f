"""What both backends share: names, return nodes, validation, isolation, facts about torch."""
