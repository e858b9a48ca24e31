module go-client

go 1.19
