module versioned

go 1.26

require github.com/astrid-actors/astrid-actors/capsulehost/guest v0.0.0

replace github.com/astrid-actors/astrid-actors/capsulehost/guest => ../../../../capsulehost/guest
