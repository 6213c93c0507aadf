module github.com/astrid-actors/astrid-actors/capsulehost/guest

go 1.26
