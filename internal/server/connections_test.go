package server

func holdIdle(addr string) {}
